"""RAIE without origins: one adapter for each set-up region."""

from typing import ClassVar

import numpy as np
import torch

from adapters_store import version_name
from pipeline.arrays import Array
from pipeline.events.existence import Existence
from pipeline.events.windows import Ids, Windows
from pipeline.models.backbones.base import mean_states
from pipeline.regions.mixing import mixed_probabilities
from pipeline.regions.vmf import shares_among
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.common.adapter_learner import AdapterLearner


class RaiePerRegion(AdapterLearner):
    """One adapter for each set-up region, for its old and new windows alike, trained at each update without replay.

    A window belongs to the set-up regions whose posterior reaches `gate.floor`: their adapters learn it, and their
    answers are mixed by that posterior. Boundaries stay as set-up made them.
    """

    name: ClassVar[str] = "raie_taste"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._bank = context.setup.bank
        self._adapters: list[str | None] = [None] * len(self._bank.setup)

    def _learn(self, windows: Windows) -> None:
        route = self._route(windows.contexts)
        for index, region in enumerate(self._bank.setup):
            selected = windows[route[:, index] > 0.0]
            if len(selected):
                self._learn_region(index, region.region_id, selected)

    def _learn_region(self, index: int, region_id: int, windows: Windows) -> None:
        name, before = version_name(region_id, self._interval), self._adapters[index]
        self._create(name, windows, before, self._seed)
        self._fit(name, windows, self._seed)
        if before:
            self._host.drop(before)
        self._adapters[index] = name

    def _probabilities(self, contexts: Ids, existence: Existence) -> torch.Tensor:
        return mixed_probabilities(self._host, contexts, self._route(contexts), self._adapters, existence)

    def _route(self, contexts: Ids) -> Array:
        """Return (n, regions) weights of the regions in the answer."""
        states = self._host.states(contexts, None)
        means = mean_states(states, self._host.backbone.windows(contexts)).cpu().double().numpy()
        posterior = shares_among(self._bank.setup, means)
        kept = np.where(posterior >= self._context.config.gate.floor, posterior, 0.0)
        lost = kept.sum(axis=1) == 0.0
        kept[lost, posterior[lost].argmax(axis=1)] = 1.0
        weights: Array = kept / kept.sum(axis=1, keepdims=True)
        return weights
