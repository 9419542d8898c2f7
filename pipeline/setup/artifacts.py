"""Artifacts of set-up."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.models.backbones.base import Backbone
from pipeline.models.catalogue import Catalogue
from pipeline.online.item_transitions import ItemTransitions
from pipeline.regions.bank import RegionBank
from pipeline.regions.features import Encoded, GateView
from pipeline.setup.calibration import Calibration


@dataclass(frozen=True)
class SetUp:
    """Frozen backbone, regions and calibration that replay and consumers start from.

    Attributes:
        backbone: the frozen backbone.
        backbone_sha256: fingerprint of its weights and the text encoder.
        catalogue: the items of set-up, by row.
        counts: (items + 1,) occurrences of each item as a target of set-up, held-out windows excluded.
        bank: set-up regions, and an origin model of the set-up origin alone.
        calibration: reference values of gate and drift detectors.
        reference: (m, f) gate features of set-up windows.
        reference_regions: (m,) their regions.
        recalls: held-out Recall@10 after each epoch of training.
        newest: (w, length) newest windows that the backbone was trained on, and their (w,) targets.
    """

    backbone: Backbone
    backbone_sha256: str
    catalogue: Catalogue
    counts: NDArray[np.int64]
    bank: RegionBank
    calibration: Calibration
    reference: Array
    reference_regions: NDArray[np.int64]
    recalls: tuple[float, ...]
    newest: tuple[NDArray[np.int64], NDArray[np.int64]]

    def item_transitions(self, shrinkage: float) -> ItemTransitions:
        """Item transitions of the newest windows."""
        contexts, targets = self.newest
        # The capacity is at least 1, also without any window.
        transitions = ItemTransitions(max(len(targets), 1), contexts.shape[1], shrinkage)
        for context, target in zip(contexts, targets.tolist(), strict=True):
            transitions.add(context, target)
        return transitions

    @cached_property
    def encoded(self) -> Encoded:
        """Gate features of the reference windows."""
        means = self.reference[:, : len(self.bank.setup[0].centroid)]
        return Encoded(means, self.reference, np.zeros((len(means), len(self.bank.setup))))

    @cached_property
    def view(self) -> GateView:
        """Feature extraction of the gate."""
        return GateView(self.counts, self.bank.setup)
