"""Everything that a monitor knows, and the small questions that its decisions ask of it."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.drift import DriftDetector, build_detector
from pipeline.drift.subsampling import phases, stride
from pipeline.events.edit import Edit, Operation
from pipeline.monitor.region_state import OF_ONE_WINDOW, SIGNALS, RegionState, voting
from pipeline.regions.bank import RegionBank
from pipeline.regions.region import Origin, Region
from pipeline.setup.calibration import Calibration

MOST_PHASES = 2
"""Of a signal: each of its detectors has a seed of its own."""


@dataclass(frozen=True, slots=True)
class Move:
    """A user whose next window of a lane lies in another set-up region."""

    at_event: int
    origin: int
    target: int
    user: str


@dataclass(slots=True)
class LastShown:
    """Of a user: windows seen, and the taste of the one shown last, a lane each."""

    windows: int
    setup_regions: list[int | None]


class Visit(NamedTuple):
    """Which region an event counts in, and which set-up region it fits best."""

    region_id: int
    setup_region: int


class Tallied(NamedTuple):
    """What the gate said of one event: top posterior, its lead over the second, p-value of the angle."""

    confidence: float
    margin: float
    novelty: float


class State:
    """What a monitor started from and what it has learned from the stream since; nothing is decided here.

    Args:
        config: sections `monitor`, `edits`, `gate`, `training`, `windows`.
        bank: set-up regions.
        calibration: their scores on held-out set-up windows.
        seed: of everything random, and of the edits' trainings.

    Attributes:
        config, seed: as given.
        stride: a detector is shown one window of a user in so many.
        phases: of moves; see `pipeline.drift.subsampling`.
        angles: sorted angles of held-out set-up windows to the centroid of their region, radians, by region id.
        setup_scores: (n, signals of one window) scores of the same windows, by region id.
        bank: the regions as they are now.
        at_event: stream events seen.
        timestamp: event time of the newest of them, seconds.
        learnable: stream events seen that were not cold.
        trained_windows: passes that the edits have cost so far.
        next_region_id: of the next region to be opened; none is issued twice.
        region_state: live regions by id.
        ended: regions that ended since the last statistics, by id.
        pending: edits that nothing came of yet, by id.
        users: by id.
        moves: the newest.
        visits: the newest.
        tally: events since the last statistics, by region id.
    """

    def __init__(self, config: Config, bank: RegionBank, calibration: Calibration, seed: int) -> None:
        self.config = config
        self.seed = seed
        self.stride = stride(config)
        self.phases = phases(self.stride)
        self.bank = bank
        self.at_event = 0
        self.timestamp = 0.0
        self.learnable = 0
        self.trained_windows = 0
        self.next_region_id = max(r.region_id for r in bank.regions) + 1
        self.regions: dict[int, RegionState] = {}
        self.ended: dict[int, RegionState] = {}
        self.pending: dict[str, Edit] = {}
        self.users: dict[str, LastShown] = {}
        self.moves: deque[Move] = deque(maxlen=config.edits.pool_windows)
        self.visits: deque[Visit] = deque(maxlen=config.monitor.visits_window)
        self.tally: dict[int, list[Tallied]] = {}
        self.angles = {
            r.region_id: sorted(calibration.angles[calibration.regions == r.region_id].tolist()) for r in bank.setup
        }
        self.setup_scores: dict[int, Array] = {}
        for region in bank.setup:
            reference = self._reference(calibration, region.region_id)
            self.setup_scores[region.region_id] = np.column_stack([reference[signal][0] for signal in OF_ONE_WINDOW])
            self.regions[region.region_id] = self.unseen(region, reference)

    def unseen(self, region: Region, reference: Mapping[str, Sequence[Array]]) -> RegionState:
        """A region of which nothing has been seen yet; the caller decides whether it is watched.

        Args:
            region: which.
            reference: values from before the stream by signal, a lane each; may lack any.
        """
        size = self.config.edits.pool_windows
        return RegionState(
            region,
            self._detectors(region, reference),
            seen=deque(maxlen=size),
            moves=[deque(maxlen=64) for _ in self.phases],
            sample=deque(maxlen=size),
            fresh=deque(maxlen=size),
        )

    def follow(self, bank: RegionBank) -> None:
        """Take in the regions as they are now, whoever changed them."""
        self.bank = bank
        for region in bank.live:
            if region.region_id in self.regions:
                self.regions[region.region_id].region = region
        for region_id in set(self.regions) - {r.region_id for r in bank.live}:
            self.ended[region_id] = self.regions.pop(region_id)

    def of_origin(self, origin: Origin) -> list[RegionState]:
        """Watched regions of set-up, or those opened since, by id."""
        return [w for _, w in sorted(self.regions.items()) if w.region.origin == origin]

    def largest_opened(self) -> RegionState | None:
        """The opened region of which most is known, if there is one."""
        opened = self.of_origin(Origin.STREAM)
        return max(opened, key=lambda w: len(w.sample)) if opened else None

    def affordable(self) -> int:
        """Windows that the budget pays an edit for now, at the usual passes."""
        return max(0, int(self._left() / (self.config.training.epochs * (1.0 - self.config.edits.held_out))))

    def thorough(self, windows: int) -> int:
        """Passes that the first training of an adapter takes.

        Args:
            windows: that the edit names; some of them judge it.
        """
        training, edits = self.config.training, self.config.edits
        return max(training.epochs, math.ceil(edits.add_steps * training.batch_size / self._learned(windows)))

    def payable(self, windows: int) -> int:
        """Passes over the windows of an edit that the budget pays for; at least the usual, which `affordable` asks."""
        return max(self.config.training.epochs, int(self._left() / self._learned(windows)))

    def _learned(self, windows: int) -> float:
        """How many windows of an edit are trained on."""
        return windows * (1.0 - self.config.edits.held_out)

    def _left(self) -> float:
        """Passes over windows that the budget has left, those of edits under way taken off."""
        training = self.config.training
        paid = (Operation.UPDATE, Operation.ADD)
        pending = sum(
            len(e.windows) * (e.passes or training.epochs) for e in self.pending.values() if e.operation in paid
        )
        return self.config.edits.passes_per_event * self.learnable - self.trained_windows - pending

    def _detectors(self, region: Region, reference: Mapping[str, Sequence[Array]]) -> dict[str, list[DriftDetector]]:
        """Detectors for each signal that is switched on and that such a region has, one a lane."""
        on = self.config.monitor
        signals = {s: len(self.phases) if s == "shift" else 1 for s in voting(on, region.origin)}
        statistics = sum(signals.values()) * len(self.bank.setup)
        first_seed = self.seed * 1_000 + region.region_id * len(SIGNALS) * MOST_PHASES
        return {
            s: [
                build_detector(on, s, values, self._values(s), statistics, first_seed + i * MOST_PHASES + phase)
                for phase, values in enumerate(reference.get(s, [np.zeros(0)] * n))
            ]
            for i, (s, n) in enumerate(signals.items())
        }

    def _values(self, signal: str) -> float:
        """Values of a signal that a detector has to run without a false alarm, for the events it is asked to."""
        events = self.config.monitor.expected_run
        # A user's move shows in one of so many of his events, and the lanes share what may be false.
        return events * len(self.phases) / self.stride if signal == "shift" else events

    def _reference(self, calibration: Calibration, region_id: int) -> dict[str, list[Array]]:
        """Scores of a set-up region on held-out set-up windows, by signal, a lane each."""
        mine, left = calibration.regions == region_id, calibration.moved_from == region_id
        angle, margin, loss = calibration.angles[mine], calibration.margins[mine], calibration.losses[mine]
        moves = [calibration.moved[left & (calibration.moved_lane == phase)] for phase in range(len(self.phases))]
        scores = (angle, -margin, loss, calibration.rarities[mine])
        return {**{signal: [of] for signal, of in zip(OF_ONE_WINDOW, scores, strict=True)}, "shift": moves}
