"""Artifacts of set-up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.config import DataSettings
from pipeline.events.counting import CountingRule
from pipeline.events.windows import Windows
from pipeline.models.backbones.base import Backbone
from pipeline.models.catalogue import Catalogue
from pipeline.regions.bank import RegionBank
from pipeline.regions.encoded import Encoded
from pipeline.regions.features import GateView
from pipeline.setup.calibration import Calibration


@dataclass(frozen=True)
class TrainingLog:
    """Log that a set-up learned from.

    Attributes:
        sha256: hash of its content; see `Dataset.sha256`.
        until: time of the last interaction that set-up learned from, seconds since 1970.
        rule: says which interactions counted.
    """

    sha256: str
    until: float
    rule: CountingRule

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """From a JSON object."""
        return cls(record["sha256"], record["until"], CountingRule.from_record(record["rule"]))

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"sha256": self.sha256, "until": self.until, "rule": self.rule.to_record()}


@dataclass(frozen=True)
class SetupEvents:
    """Newest events of set-up, from which the counts of the stream start.

    Attributes:
        contexts: (n, length) their windows.
        earlier: (n, e) distinct items that left each window, see `Windows.earlier`.
        targets: (n,) the items that were taken.
        held_out: (n,) True for windows that the backbone was not trained on.
    """

    contexts: NDArray[np.int64]
    earlier: NDArray[np.int32]
    targets: NDArray[np.int64]
    held_out: NDArray[np.bool_]

    @classmethod
    def of(cls, windows: Windows, held_out: NDArray[np.bool_], most: int) -> Self:
        """The newest `most` of n windows in event order, with the (n,) mask of those held out."""
        last = slice(max(len(windows) - most, 0), None)
        return cls(windows.contexts[last], windows.earlier[last], windows.targets[last], held_out[last])

    def sample_held_out(self, most: int) -> NDArray[np.int64]:
        """(m,) indices of at most `most` held-out windows, evenly spaced."""
        indices = np.flatnonzero(self.held_out)
        chosen = np.linspace(0, len(indices) - 1, min(len(indices), most)).astype(np.int64)
        sampled: NDArray[np.int64] = indices[chosen]
        return sampled


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
        events: newest events of set-up; none of them held out where an earlier version wrote the set-up.
        log: the log that it learned from; None in a replay, and where an earlier version wrote the set-up.
        ranking: weights of the second stage of the set-up before (`network.*` of `OnlineState.to_arrays`), from which
            that of this one begins; empty where there was none.
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
    events: SetupEvents
    log: TrainingLog | None = None
    ranking: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def counting_rule(self, settings: DataSettings) -> CountingRule:
        """Rule of the settings where they have one, else that of set-up."""
        rule = CountingRule() if self.log is None else self.log.rule
        threshold = rule.positive_from if settings.positive_from is None else settings.positive_from
        return CountingRule(threshold, settings.event_types or rule.event_types)

    @cached_property
    def encoded(self) -> Encoded:
        """Gate features of the reference windows."""
        means = self.reference[:, : len(self.bank.setup[0].centroid)]
        return Encoded(means, self.reference, np.zeros((len(means), len(self.bank.setup))))

    @cached_property
    def view(self) -> GateView:
        """Feature extraction of the gate."""
        return GateView(self.counts, self.bank.setup)
