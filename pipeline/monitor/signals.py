"""The table of drift signals: their scores, the regions that have them, and the seeds of their detectors.

Every live region has a detector for each signal that `monitor.<name>` switches on. A signal of single windows is added
by one row of `SIGNALS` and its switch in the settings; detectors of the other signals keep their seeds.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from pipeline.arrays import Array
from pipeline.config import MonitorSettings
from pipeline.events.gated import GatedEvent
from pipeline.regions.region import Origin
from pipeline.setup.calibration import Calibration


class Kind(Enum):
    """Meaning of an alarm: new behaviour in a region, or windows that lie between known regions."""

    NEW = auto()
    BETWEEN = auto()


class Overlap(Enum):
    """Treatment of a user's windows, which share items: shown all, one in a stride, or pairs in several phases."""

    EVERY_EVENT = auto()
    THINNED = auto()
    PHASES = auto()


class Seeding(Enum):
    """Source of a detector's seed: its position among the signals in use, or its name."""

    POSITION = auto()
    NAME = auto()


@dataclass(frozen=True, slots=True)
class Signal:
    """One row of the table.

    Attributes:
        name: in records, metrics and settings, which are contracts.
        kind: meaning of an alarm.
        score: of an event in a region of an origin, larger is stranger, None where the target did not exist and the
            signal is about it. No function for a signal of moves, 1 where a user's next window lies in another set-up
            region than the one before, else 0.
        reference: (n,) the score on held-out set-up windows; None where the detector starts without any.
        origins: of the regions that have the signal.
        overlap: windows of a user that the detector is shown.
        compared: True if the score is a feature of the two-sample statistic; it then needs a reference.
        seeding: source of the seed; new signals are seeded by name.
    """

    name: str
    kind: Kind
    score: Callable[[GatedEvent, Origin], float | None] | None = None
    reference: Callable[[Calibration], Array] | None = None
    origins: tuple[Origin, ...] = tuple(Origin)
    overlap: Overlap = Overlap.THINNED
    compared: bool = False
    seeding: Seeding = Seeding.NAME

    def is_shown(self, turn: int) -> bool:
        """Say whether a window enters the detector.

        Args:
            turn: number of the window among its user's, modulo the stride.
        """
        return turn == 0 or self.overlap is Overlap.EVERY_EVENT


def _doubt(event: GatedEvent, origin: Origin) -> float:
    # Inside set-up the margin among set-up regions counts: it stays as it is when a stream region is added.
    return -(event.setup_margin if origin == Origin.BASE else event.margin)


SIGNALS: tuple[Signal, ...] = (
    Signal(
        "novelty",
        Kind.NEW,
        score=lambda event, _: event.angle,
        reference=lambda calibration: calibration.angles,
        compared=True,
        seeding=Seeding.POSITION,
    ),
    Signal(
        "doubt",
        Kind.BETWEEN,
        score=_doubt,
        reference=lambda calibration: -calibration.margins,
        compared=True,
        seeding=Seeding.POSITION,
    ),
    Signal(
        "loss",
        Kind.NEW,
        score=lambda event, _: event.loss,
        reference=lambda calibration: calibration.losses,
        # The losses of a user are nearly independent, given the windows; the rarities of his items are not.
        overlap=Overlap.EVERY_EVENT,
        compared=True,
        seeding=Seeding.POSITION,
    ),
    Signal(
        "rarity",
        Kind.NEW,
        score=lambda event, _: event.rarity if event.is_scored else None,
        reference=lambda calibration: calibration.rarities,
        origins=(Origin.BASE,),
        compared=True,
        seeding=Seeding.POSITION,
    ),
    Signal(
        "shift",
        Kind.BETWEEN,
        origins=(Origin.BASE,),
        overlap=Overlap.PHASES,
        seeding=Seeding.POSITION,
    ),
)
"""All signals, in the order in which alarms are looked at and scores are recorded: new rows come last."""

SEEDS_A_REGION, SEEDS_A_SIGNAL = 10, 2
"""Distance between the first seeds of two regions, and of two signals of a region, where the position decides."""


def of_windows() -> list[Signal]:
    """Signals that score a single window, in the order of `Observation.scores`."""
    return [signal for signal in SIGNALS if signal.score is not None]


def of_moves() -> list[Signal]:
    """Signals of users' moves between set-up regions."""
    return [signal for signal in SIGNALS if signal.score is None]


def of_kind(kind: Kind) -> list[Signal]:
    """Signals whose alarm has this meaning."""
    return [signal for signal in SIGNALS if signal.kind is kind]


def scores(event: GatedEvent, origin: Origin) -> tuple[float | None, ...]:
    """Scores of an event in a region of this origin, one for each of `of_windows`."""
    return tuple(signal.score(event, origin) for signal in SIGNALS if signal.score is not None)


def in_use(settings: MonitorSettings, origin: Origin) -> list[Signal]:
    """Signals that are switched on and that a region of this origin has."""
    return [signal for signal in SIGNALS if getattr(settings, signal.name) and origin in signal.origins]


def detector_seed(seed: int, region_id: int, signal: Signal, phase: int, used: Sequence[Signal]) -> int:
    """Seed of the detector of a signal in a region.

    Args:
        seed: of the run.
        region_id: of the region.
        signal: one of `used`.
        phase: of the detector, 0 for a signal without phases.
        used: signals in use in the region.
    """
    if signal.seeding is Seeding.NAME:
        digest = hashlib.sha256(f"{seed}/{region_id}/{signal.name}/{phase}".encode()).digest()
        return int.from_bytes(digest[:8], "big")
    position = [s.name for s in used if s.seeding is Seeding.POSITION].index(signal.name)
    return seed * 1_000 + region_id * SEEDS_A_REGION + position * SEEDS_A_SIGNAL + phase
