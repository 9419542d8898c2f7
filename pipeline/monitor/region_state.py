"""What is kept of one region: its detectors, what they raised, and the windows that an edit would rest on."""

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from pipeline.config import MonitorSettings
from pipeline.drift import DriftDetector
from pipeline.events.edit import Evidence
from pipeline.regions.region import Origin, Region

SIGNALS = ("novelty", "doubt", "loss", "rarity", "shift")
OF_ONE_WINDOW = SIGNALS[:4]
OF_SETUP = ("rarity", "shift")
"""Signals that only set-up regions have."""

NEW = ("novelty", "loss", "rarity")
"""Signals that say that something new goes on."""

BETWEEN = ("doubt", "shift")
"""Signals that say that windows lie between known regions."""

LONGEST_BACKOFF = 4
"""An edit that did not help needs up to this many times the evidence the next time."""


def voting(settings: MonitorSettings, origin: Origin) -> list[str]:
    """The signals that are switched on and that a region of this origin has."""
    return [s for s in SIGNALS if getattr(settings, s) and (s not in OF_SETUP or origin == Origin.BASE)]


@dataclass(frozen=True, slots=True)
class Observation:
    """One window as a region saw it.

    Attributes:
        at_event: when.
        evidence: which.
        scores: by the signals of one window.
        rival: the set-up region that it fits second best.
        user: whose.
    """

    at_event: int
    evidence: Evidence
    scores: tuple[float, ...]
    rival: int
    user: str


@dataclass
class RegionState:
    """What the monitor keeps of one live region.

    Attributes:
        region: as last published.
        detectors: by signal, one a lane; what overlaps is in different lanes, and only moves have more than one.
        rising: event since which the evidence of each signal has been building up, by signal and lane.
        raised: signals whose alarm stands: event since which their evidence had been building up, statistic.
        seen: newest windows of its own.
        moves: of the newest pairs of windows of a user, whether they left it (1) or not (0), a lane each.
        fresh: windows that its adapter would be asked about and has not learned.
        tried: ids of those that Updates in vain were made of, since one that helped.
        learned: how many windows its adapter has learned.
        sample: newest windows of an opened region's origin: what its boundary is fitted to.
        audited: event up to which its windows were tried with an opened region.
        audits: audits in vain, since the last that was not.
        unmerged: event of the last attempt to merge it.
        apart: such attempts in vain.
        fitted: size of the sample when its boundary was last fitted.
        quiet_until: no alarm of it leads to an edit before this event.
        backoff: how many times the usual evidence the next edit needs, other than an Update.
        taught: windows of it that an opened region learned since its alarm was raised.
        refused: whether that opened region was then stretched over it in vain.
        peak: highest share of visits so far.
        untold: windows of a set-up region since it was last told apart.
        told: how well its windows were then told from set-up windows; None before.
    """

    region: Region
    detectors: dict[str, list[DriftDetector]]
    seen: deque[Observation]
    moves: list[deque[float]]
    sample: deque[Evidence]
    fresh: deque[Evidence]
    tried: set[str] = field(default_factory=set)
    learned: int = 0
    rising: dict[tuple[str, int], int] = field(default_factory=dict)
    raised: dict[str, tuple[int, float]] = field(default_factory=dict)
    audited: int = 0
    audits: int = 0
    unmerged: int = 0
    apart: int = 0
    fitted: int = 0
    quiet_until: int = 0
    backoff: int = 1
    taught: int = 0
    refused: bool = False
    peak: float = 0.0
    untold: int = 0
    told: float | None = None

    @property
    def region_id(self) -> int:
        """Of the region."""
        return self.region.region_id

    @property
    def in_question(self) -> bool:
        """Whether something new goes on in a set-up region that an opened one may come to answer for."""
        return self.region.origin == Origin.BASE and not self.raised.keys().isdisjoint(NEW)

    def alarms(self, now: int) -> list[str]:
        """Signals whose alarm stands."""
        if now < self.quiet_until:
            return []
        return [signal for signal in SIGNALS if signal in self.raised]

    def untried(self) -> int:
        """Fresh windows that no Update in vain was made of."""
        return sum(e.event_id not in self.tried for e in self.fresh)

    def excursion(self, signals: Iterable[str]) -> list[Observation]:
        """Windows since the earliest of these signals began to rise."""
        start = min(self.raised[signal][0] for signal in signals)
        return [s for s in self.seen if s.at_event >= start]

    def learn(self, windows: Iterable[Evidence], trained_on: Collection[str]) -> None:
        """Those of an edit's windows that its adapter was trained on are fresh no longer.

        Args:
            windows: of the edit.
            trained_on: ids of events.
        """
        self.fresh = deque((e for e in self.fresh if e.event_id not in trained_on), maxlen=self.fresh.maxlen)
        self.learned += sum(e.event_id in trained_on for e in windows)

    def weigh(self, helped: bool) -> None:
        """What helped may be asked for sooner; what did not needs twice the evidence."""
        self.backoff = max(1, self.backoff // 2) if helped else min(2 * self.backoff, LONGEST_BACKOFF)

    def settle(self, quiet_until: int) -> None:
        """Take the newest windows for normal, and forget the evidence against them."""
        newest = [s.scores for s in self.seen][-256:]
        for place, signal in enumerate(OF_ONE_WINDOW):
            for detector in self.detectors.get(signal, ()):
                detector.reset(scores[place] for scores in newest)
        if "shift" in self.raised:
            for detector, moves in zip(self.detectors["shift"], self.moves, strict=True):
                detector.reset(moves)
        self.raised.clear()
        self.quiet_until = quiet_until
