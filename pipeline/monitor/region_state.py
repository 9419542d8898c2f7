"""State of one region in the monitor: its detectors, their alarms, and the windows that edits rest on."""

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from pipeline.drift import DriftDetector
from pipeline.events.edit import Evidence
from pipeline.monitor import signals
from pipeline.monitor.signals import Kind
from pipeline.regions.region import Origin, Region

MAX_BACKOFF = 4
"""Limit of `RegionState.backoff`."""

REFERENCE_WINDOWS = 256
"""Newest windows that the detectors compare with after a reset."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One window that was counted in a region.

    Attributes:
        at_event: number of the stream event.
        evidence: the window.
        scores: one for each of `signals.of_windows`, None where the target did not exist.
        rival: the second likeliest set-up region.
        user: id of the user.
    """

    at_event: int
    evidence: Evidence
    scores: tuple[float | None, ...]
    rival: int
    user: str


@dataclass
class RegionState:
    """State of one live region.

    Attributes:
        region: as last published.
        detectors: by signal, one for each phase; only signals of moves have several phases.
        observations: newest windows counted in the region.
        moves: for each phase, 1 or 0 for each of the newest pairs of windows of a user: left the region or stayed.
        sample: newest windows of a stream region, on which its boundary is fitted.
        fresh: windows on the region's route that its adapter has not learned.
        rejected_windows: event ids of the windows of rejected Updates since the last accepted one.
        learned_windows: number of windows that its adapter has learned.
        rising_since: event at which the evidence of each signal began to rise, by signal and phase.
        raised: alarms that have not been reset, by signal: event at which the evidence began to rise, statistic.
        last_audit: event up to which its windows were tested with a stream region.
        failed_audits: rejected audits since the last accepted one.
        last_merge_attempt: event of the last attempt to merge it.
        failed_merges: rejected merges since the last accepted one.
        fitted_windows: size of `sample` when the boundary was last fitted.
        quiet_until: event before which its alarms lead to no edit.
        backoff: factor on the evidence that the next edit, other than an Update, needs.
        learned_by_target: windows of the region that a stream region has learned since the alarm.
        expand_rejected: True if an Expand of that stream region over this region was then rejected.
        peak_share: highest share of visits so far.
        windows_since_separability: windows since `separability` was last measured.
        separability: AUC of its windows against held-out set-up windows, 0.5 without drift; None before the first.
    """

    region: Region
    detectors: dict[str, list[DriftDetector]]
    observations: deque[Observation]
    moves: list[deque[float]]
    sample: deque[Evidence]
    fresh: deque[Evidence]
    rejected_windows: set[str] = field(default_factory=set)
    learned_windows: int = 0
    rising_since: dict[tuple[str, int], int] = field(default_factory=dict)
    raised: dict[str, tuple[int, float]] = field(default_factory=dict)
    last_audit: int = 0
    failed_audits: int = 0
    last_merge_attempt: int = 0
    failed_merges: int = 0
    fitted_windows: int = 0
    quiet_until: int = 0
    backoff: int = 1
    learned_by_target: int = 0
    expand_rejected: bool = False
    peak_share: float = 0.0
    windows_since_separability: int = 0
    separability: float | None = None

    @property
    def region_id(self) -> int:
        """Id of the region."""
        return self.region.region_id

    @property
    def is_new_in_setup(self) -> bool:
        """True for a set-up region with an alarm of new behaviour, which a stream region may come to cover."""
        return self.region.origin == Origin.BASE and bool(self.raised_of(Kind.NEW))

    def raised_of(self, kind: Kind) -> list[str]:
        """Names of the raised signals of a kind, in the order of the table."""
        # Most regions have none, and all of them are asked at each decision.
        return [signal.name for signal in signals.of_kind(kind) if signal.name in self.raised] if self.raised else []

    def alarms(self, now: int, kind: Kind) -> list[str]:
        """Names as from `raised_of`; none before the region's cool-down is over."""
        return self.raised_of(kind) if now >= self.quiet_until else []

    def count_unrejected(self) -> int:
        """Number of fresh windows that no rejected Update was made of."""
        return sum(e.event_id not in self.rejected_windows for e in self.fresh)

    def since_rise(self, names: Iterable[str]) -> list[Observation]:
        """Windows since the earliest of these raised signals began to rise."""
        start = min(self.raised[name][0] for name in names)
        return [o for o in self.observations if o.at_event >= start]

    def mark_learned(self, windows: Iterable[Evidence], trained_on: Collection[str]) -> None:
        """Remove windows that its adapter was trained on from `fresh`, and count them.

        Args:
            windows: of the edit.
            trained_on: event ids.
        """
        self.fresh = deque((e for e in self.fresh if e.event_id not in trained_on), maxlen=self.fresh.maxlen)
        self.learned_windows += sum(e.event_id in trained_on for e in windows)

    def update_backoff(self, accepted: bool) -> None:
        """Halve the evidence that the next edit needs after an accepted one, and double it after a rejected one."""
        self.backoff = max(1, self.backoff // 2) if accepted else min(2 * self.backoff, MAX_BACKOFF)

    def reset(self, quiet_until: int) -> None:
        """Drop all alarms and compare with the newest windows from now on."""
        newest = [o.scores for o in self.observations][-REFERENCE_WINDOWS:]
        for place, signal in enumerate(signals.of_windows()):
            for detector in self.detectors.get(signal.name, ()):
                # A restored window may lack the scores of signals that were added since.
                known = (scores[place] for scores in newest if place < len(scores))
                detector.reset(score for score in known if score is not None)
        for signal in signals.of_moves():
            if signal.name in self.raised:
                for detector, moves in zip(self.detectors[signal.name], self.moves, strict=True):
                    detector.reset(moves)
        self.raised.clear()
        self.quiet_until = quiet_until
