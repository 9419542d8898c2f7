"""The monitor: per-region statistics of the gate, and when they call for an edit.

Every accepted event counts in the statistics of exactly one region, the one of its top posterior. Each
region has a detector for each signal: *novelty* (angle to the centroid), *doubt* (narrow margin), *loss*
(how unexpected the interaction was), and for set-up regions *rarity* (how little set-up knew the item) and
*shift* (users whose next windows lie in another region). What an alarm leads to:

    doubt, shift in a set-up region     Expand   its boundary with the region it is confused with
    novelty, loss, rarity in such       Add      if there is no opened region yet; otherwise that one learns
                                                 their windows in its next Update, then
                                        Expand   of its boundary over them; and if that does not help, Add
    novelty in an opened region         Add      a child of it
    loss in an opened region            Update   at once; otherwise when enough new windows have come
    an opened region's evidence doubled Expand   the boundary is refitted to what is known by now
    windows enough beside an opened one Expand   over a set-up region, if it answers for that one far better
    centroids came to coincide          Merge
    visits all but ended                Retire
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.config import Config
from pipeline.drift import DriftDetector, build_detector
from pipeline.edits import AUDIT, Edit, Evidence, Operation, Outcome, edit_id, held_out
from pipeline.regions import SET_UP, SINCE, Region, angles
from pipeline.routing import RegionBank
from pipeline.setup import Calibration

SIGNALS = ("novelty", "doubt", "loss", "rarity", "shift")
OF_ONE_WINDOW = SIGNALS[:4]
OF_SETUP = ("rarity", "shift")
"""Signals that only set-up regions have."""

NEW = ("novelty", "loss", "rarity")
"""Signals that say that something new goes on."""

BETWEEN = ("doubt", "shift")
"""Signals that say that windows lie between known regions."""

NARROW = 0.2
"""A margin below this is reported as doubtful; no decision hangs on it."""

LEAST_VISITS = 40
"""Fewer expected visits than this say nothing when they fail to come."""

MOST_SAMPLES = 8_192
"""Windows of opened regions that an edit names for fitting boundaries."""

MOST_AUDITS = 2
"""A set-up region that was tried with an opened one so often in vain is left to its alarms: who asks on, is granted it
by chance one day."""

LONGEST_BACKOFF = 4
"""An edit that did not help needs up to this many times the evidence the next time."""


@dataclass(frozen=True, slots=True)
class Seen:
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


@dataclass(frozen=True, slots=True)
class Move:
    """A user whose next window that does not overlap lies in another set-up region."""

    at_event: int
    origin: int
    target: int
    user: str


@dataclass(slots=True)
class LastShown:
    """Of a user: events seen, the event shown to the detectors last, and the taste of its window."""

    events: int = 0
    shown: int | None = None
    taste: int | None = None


@dataclass
class Watched:
    """What the monitor keeps of one live region.

    Attributes:
        region: as last published.
        detectors: by signal.
        rising: event since which the evidence of each signal has been building up.
        raised: signals whose alarm stands: event since which their evidence had been building up, statistic.
        seen: newest windows of its own.
        moves: of the newest pairs of windows of a user, whether they left it (1) or not (0).
        fresh: windows that its adapter would be asked about and has not learned.
        tried: ids of those that Updates in vain were made of, since one that helped.
        learned: newest windows that it has.
        sample: newest windows of an opened region's origin: what its boundary is fitted to.
        audited: event up to which its windows were tried with an opened region.
        audits: audits in vain, since the last that was not.
        unmerged: event of the last attempt to merge it.
        apart: such attempts in vain.
        fitted: size of the sample when its boundary was last fitted.
        quiet_until: no alarm of it leads to an edit before this event.
        backoff: how many times the usual evidence the next edit needs.
        taught: windows of it that an opened region learned since its alarm was raised.
        refused: whether that opened region was then stretched over it in vain.
        peak: highest share of visits so far.
    """

    region: Region
    detectors: dict[str, DriftDetector]
    seen: deque[Seen]
    moves: deque[float]
    sample: deque[Evidence]
    fresh: deque[Evidence]
    learned: deque[Evidence]
    tried: set[str] = field(default_factory=set)
    rising: dict[str, int] = field(default_factory=dict)
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

    def alarms(self, now: int) -> list[str]:
        """Signals whose alarm stands."""
        if now < self.quiet_until:
            return []
        return [signal for signal in SIGNALS if signal in self.raised]

    def untried(self) -> int:
        """Fresh windows that no Update in vain was made of."""
        return sum(e.event_id not in self.tried for e in self.fresh)

    def excursion(self, signals: Iterable[str]) -> list[Seen]:
        """Windows since the earliest of these signals began to rise."""
        start = min(self.raised[signal][0] for signal in signals)
        return [s for s in self.seen if s.at_event >= start]

    def settle(self, quiet_until: int) -> None:
        """Take the newest windows for normal, and forget the evidence against them."""
        newest = [s.scores for s in self.seen][-256:]
        for place, signal in enumerate(OF_ONE_WINDOW):
            if signal in self.detectors:
                self.detectors[signal].reset(scores[place] for scores in newest)
        if "shift" in self.raised:
            self.detectors["shift"].reset(self.moves)
        self.raised.clear()
        self.quiet_until = quiet_until


class Monitor:
    """Decides on edits from gated records.

    Args:
        config: sections `monitor`, `edits`, `gate`, `training`, `windows`.
        bank: set-up regions.
        calibration: their scores on held-out set-up windows.
        seed: of everything random, and of the edits' trainings.

    Attributes:
        at_event: stream events seen.
        trained_windows: passes that the edits have cost so far.
    """

    def __init__(self, config: Config, bank: RegionBank, calibration: Calibration, seed: int) -> None:
        self.at_event = 0
        self.trained_windows = 0
        self.timestamp = 0.0
        self._config = config
        self._learnable = 0
        self._seed = seed
        # A detector that is shown one window in so many has that many events a value.
        self._thinning = config.monitor.thinning or max(1, config.windows.length // 2)
        self._bank = bank
        self._watched: dict[int, Watched] = {}
        self._ended: dict[int, Watched] = {}
        self._asked: dict[str, Edit] = {}
        self._users: dict[str, LastShown] = {}
        self._moves: deque[Move] = deque(maxlen=config.edits.pool_windows)
        self._visits: deque[tuple[int, int]] = deque(maxlen=config.monitor.visits_window)
        self._next_region_id = max(r.region_id for r in bank.regions) + 1
        self._angles = {
            r.region_id: np.sort(calibration.angles[calibration.regions == r.region_id]) for r in bank.setup
        }
        self._tally: dict[int, list[tuple[float, float, float]]] = {}
        for region in bank.setup:
            mine = calibration.regions == region.region_id
            moves = calibration.moved[calibration.moved_from == region.region_id]
            angle, margin, loss = calibration.angles[mine], calibration.margins[mine], calibration.losses[mine]
            scores = (angle, -margin, loss, calibration.rarities[mine], moves)
            self._watch(region, dict(zip(SIGNALS, scores, strict=True)))

    @property
    def asked(self) -> Mapping[str, Edit]:
        """Edits that nothing came of yet, by id."""
        return self._asked

    def observe(self, gated: Mapping[str, Any], offset: int) -> None:
        """Take in one record of `gated`."""
        self.at_event += 1
        self.timestamp = max(self.timestamp, gated["timestamp"])
        self._visits.append((gated["region_id"], gated["taste"]))
        # Whatever becomes of it, an event counts in the statistics of the one region of its top posterior.
        self._tally.setdefault(gated["region_id"], []).append(
            (gated["confidence"], gated["margin"], self._novelty(gated["region_id"], gated["angle"]))
        )
        if gated["cold"]:
            return
        self._learnable += 1
        watched = self._watched.get(gated["region_id"])
        if watched is None:
            return
        setup = watched.region.origin == SET_UP
        # Inside set-up the margin among set-up regions counts: it stays as it is when a region is opened.
        scores = (gated["angle"], -gated["taste_margin" if setup else "margin"], gated["loss"], gated["rarity"])
        evidence = Evidence(gated["event_id"], offset, watched.region.region_id)
        watched.seen.append(Seen(self.at_event, evidence, scores, gated["taste_rival"], gated["user_id"]))
        self._collect(gated, offset)
        self._test(watched, scores, gated["user_id"], gated["taste"])

    def decide(self) -> list[Edit]:
        """The edits that the statistics call for now; each region is in at most one that is under way."""
        # Where training takes its time, a boundary is not moved under an Update, nor an Update made under a moving
        # boundary: one of the two would be found out of date when it is done.
        moving = any(e.operation is not Operation.UPDATE for e in self._asked.values())
        edits = [] if moving else self._updates()
        if not self._asked and not edits:
            boundary = (
                self._retire()
                or self._merge()
                or self._between()
                or self._drifted()
                or self._child()
                or self._refit()
                or self._audit()
            )
            edits = [boundary] if boundary else []
        self._asked.update((e.edit_id, e) for e in edits)
        return edits

    def settle(self, outcome: Outcome, bank: RegionBank) -> None:
        """Take in what came of an edit, and the regions as they are after it."""
        edit = self._asked.pop(outcome.edit_id, None)
        self.trained_windows += outcome.trained_windows
        self.follow(bank)
        if edit is None:
            return
        quiet_until = self.at_event + self._config.edits.cool_down
        after = {
            Operation.UPDATE: self._after_update,
            Operation.ADD: self._after_add,
            Operation.EXPAND: self._after_expand,
            Operation.MERGE: self._after_merge,
            Operation.RETIRE: self._after_retire,
        }[edit.operation]
        after(edit, outcome, quiet_until)

    def follow(self, bank: RegionBank) -> None:
        """Take in the regions as they are now, whoever changed them."""
        self._bank = bank
        for region in bank.live:
            if region.region_id in self._watched:
                self._watched[region.region_id].region = region
        for region_id in set(self._watched) - {r.region_id for r in bank.live}:
            self._ended[region_id] = self._watched.pop(region_id)

    def evidence(self) -> list[tuple[int, str, float]]:
        """Region id, signal and statistic of every detector."""
        return [(i, s, d.statistic) for i, w in sorted(self._watched.items()) for s, d in w.detectors.items()]

    def statistics(self) -> list[dict[str, Any]]:
        """Per-region statistics since the last call, for metrics and reports."""
        rows = []
        for region_id, tallied in sorted(self._tally.items()):
            # A region that has ended may still have had events, gated before that was known.
            watched = self._watched.get(region_id) or self._ended.get(region_id)
            detectors = watched.detectors if watched else {}
            confidence, margin, novelty = np.array(tallied).mean(axis=0)
            signal = max(detectors, key=lambda s: detectors[s].statistic, default=None)
            loudest = detectors[signal] if signal else None
            rows.append(
                {
                    "region_id": region_id,
                    "origin": self._bank[region_id].origin,
                    "at_event": self.at_event,
                    "timestamp": self.timestamp,
                    "windows": len(tallied),
                    "confidence": float(confidence),
                    "margin": float(margin),
                    "novelty": float(novelty),
                    "doubtful_share": float(np.mean([t[1] < NARROW for t in tallied])),
                    "signal": signal,
                    "drift_statistic": loudest.statistic if loudest else 0.0,
                    "threshold": loudest.threshold if loudest else float(np.log(self._config.monitor.expected_run)),
                }
            )
        self._tally.clear()
        self._ended.clear()
        return rows

    # --- evidence -------------------------------------------------------------------------------------

    def _watch(self, region: Region, reference: Mapping[str, Iterable[float]]) -> Watched:
        on = self._config.monitor
        signals = [s for s in SIGNALS if getattr(on, s) and (s not in OF_SETUP or region.origin == SET_UP)]
        size = self._config.edits.pool_windows
        watched = Watched(
            region,
            {
                s: build_detector(
                    on,
                    s,
                    reference.get(s, ()),
                    self._values(s),
                    len(signals) * len(self._bank.setup),
                    self._seed * 1_000 + region.region_id * len(SIGNALS) + i,
                )
                for i, s in enumerate(signals)
            },
            seen=deque(maxlen=size),
            moves=deque(maxlen=64),
            sample=deque(maxlen=size),
            fresh=deque(maxlen=size),
            learned=deque(maxlen=self._config.edits.memory_windows),
        )
        self._watched[region.region_id] = watched
        return watched

    def _values(self, signal: str) -> float:
        """Values of a signal that a detector has to run without a false alarm, for the events it is asked to."""
        events = self._config.monitor.expected_run
        # A user's move shows in one of so many of his events.
        return events / self._thinning if signal == "shift" else events

    def _novelty(self, region_id: int, angle: float) -> float:
        """Conformal p-value of the angle among the region's held-out set-up windows; 1 for opened regions."""
        reference = self._angles.get(region_id)
        if reference is None:
            return 1.0
        stranger = len(reference) - int(np.searchsorted(reference, angle))
        return (stranger + 1) / (len(reference) + 1)

    def _collect(self, gated: Mapping[str, Any], offset: int) -> None:
        """Windows that an opened region takes part in are what it learns from and what its boundary encloses."""
        for region_id in gated["route"]:
            opened = self._watched.get(region_id)
            if opened is not None:
                evidence = Evidence(gated["event_id"], offset, region_id)
                opened.fresh.append(evidence)
                opened.sample.append(evidence)
        origin, target = self._watched.get(gated["region_id"]), self._largest_opened()
        if origin is None or target is None or not self._in_question(origin):
            return
        if target.region.region_id not in gated["route"]:
            target.fresh.append(Evidence(gated["event_id"], offset, target.region.region_id))

    def _test(self, watched: Watched, scores: tuple[float, ...], user: str, taste: int) -> None:
        """Show the scores to the detectors; windows of one user overlap, so only every so-manieth is shown."""
        shown = self._users.setdefault(user, LastShown())
        shown.events += 1
        apart = shown.shown is None or shown.events - shown.shown >= self._thinning
        for place, signal in enumerate(OF_ONE_WINDOW):
            # The losses of a user are nearly independent, given the windows; the rarities of his items are not.
            if apart or signal == "loss":
                self._show(watched, signal, scores[place])
        if apart:
            self._show_move(shown, user, taste)
            shown.shown = shown.events

    def _show_move(self, shown: LastShown, user: str, taste: int) -> None:
        """Show the detector of the region that a user's last window was in whether this one left it."""
        origin, shown.taste = shown.taste, taste
        watched = self._watched.get(origin) if origin is not None else None
        if watched is None:
            return
        if taste != watched.region.region_id:
            self._moves.append(Move(self.at_event, watched.region.region_id, taste, user))
        watched.moves.append(float(taste != watched.region.region_id))
        self._show(watched, "shift", watched.moves[-1])

    def _show(self, watched: Watched, signal: str, score: float) -> None:
        detector = watched.detectors.get(signal)
        if detector is None:
            return
        detector.update(score)
        if detector.since <= 1:
            watched.rising[signal] = self.at_event
        if detector.drift_detected and signal not in watched.raised:
            first = not self._in_question(watched)
            watched.raised[signal] = (watched.rising[signal], detector.statistic)
            if first and self._in_question(watched):
                self._teach(watched, [signal])

    def _teach(self, watched: Watched, signals: list[str]) -> None:
        """What looks new in a set-up region is for an opened region to learn, if there is one."""
        target = self._largest_opened()
        if target is not None:
            known = {e.event_id for e in target.sample} | {e.event_id for e in target.fresh}
            found = [s.evidence for s in watched.excursion(signals) if s.evidence.event_id not in known]
            target.fresh.extend(Evidence(e.event_id, e.offset, target.region.region_id) for e in found)

    # --- decisions ------------------------------------------------------------------------------------

    def _updates(self) -> list[Edit]:
        edits = []
        asked = {e.region_id for e in self._asked.values()}
        for region_id, watched in sorted(self._watched.items()):
            settings = self._config.edits
            alarm = "loss" in watched.alarms(self.at_event)
            # What doubles a region's knowledge is worth an Update; what adds a little can wait for more.
            usual = min(settings.update_windows, max(settings.min_windows, len(watched.learned)))
            need = (settings.min_windows if alarm else usual) * watched.backoff
            if (
                watched.region.adapter
                and region_id not in asked
                and watched.untried() >= min(need, settings.pool_windows)
            ):
                if self._affordable() < len(watched.fresh):
                    continue
                reason = self._reason(
                    watched if alarm else None,
                    "loss" if alarm else "new windows",
                    f"region {region_id} has {len(watched.fresh)} windows that its adapter has not learned"
                    + (", and its loss has risen" if alarm else ""),
                )
                replayed = self._replayed(watched, len(watched.fresh))
                edits.append(self._edit(Operation.UPDATE, watched.region, None, reason, list(watched.fresh), replayed))
        return edits

    def _replayed(self, watched: Watched, new: int) -> list[Evidence]:
        """Windows that a region learned before, to go with so many new ones, spread over what is remembered."""
        wanted = int(self._config.edits.own_replay * new)
        places = np.linspace(0, len(watched.learned) - 1, min(wanted, len(watched.learned)))
        return [watched.learned[int(place)] for place in places]

    def _drifted(self) -> Edit | None:
        """Set-up regions in which something new goes on: stretch an opened region over it, or open one."""
        alarmed = {}
        for watched in self._of_origin(SET_UP):
            signals = [s for s in watched.alarms(self.at_event) if s in NEW]
            if signals:
                alarmed[watched.region.region_id] = (watched, watched.excursion(signals))
        pool = sorted((s for _, found in alarmed.values() for s in found), key=lambda s: s.at_event)
        need = self._config.edits.min_windows * max((w.backoff for w, _ in alarmed.values()), default=1)
        if len(pool) < need:
            return None
        evidence = [s.evidence for s in pool][-self._config.edits.pool_windows :]
        concerned = [w for w, _ in alarmed.values()]
        loudest = max(concerned, key=lambda w: max(statistic for _, statistic in w.raised.values()))
        ids = ", ".join(str(w.region.region_id) for w in concerned)
        text = f"{len(evidence)} windows of set-up regions {ids} no longer look as in set-up"
        target = self._largest_opened()
        if target is None or all(w.refused for w in concerned):
            return self._open(evidence, text, loudest, sorted(w.region.region_id for w in concerned))
        taught = [w for w in concerned if w.taught >= self._config.edits.min_windows and not w.refused]
        if taught:
            return self._stretch(target, taught, text, loudest)
        return None

    def _in_question(self, watched: Watched) -> bool:
        """Whether something new goes on in a set-up region that an opened one may come to answer for."""
        return watched.region.origin == SET_UP and any(signal in watched.raised for signal in NEW)

    def _largest_opened(self) -> Watched | None:
        opened = self._of_origin(SINCE)
        return max(opened, key=lambda w: len(w.sample)) if opened else None

    def _stretch(self, target: Watched, taught: Sequence[Watched], text: str, loudest: Watched) -> Edit:
        """Expand an opened region over set-up regions whose windows it has learned."""
        found = sorted(
            (s for w in taught for s in w.excursion(s for s in NEW if s in w.raised)), key=lambda s: s.at_event
        )
        text += f"; region {target.region.region_id} has learned them, and its boundary is moved over them"
        reason = self._reason(loudest, "drift", text) | {"regions": sorted(w.region.region_id for w in taught)}
        mine = [Evidence(s.evidence.event_id, s.evidence.offset, target.region.region_id) for s in found]
        mine = mine[-self._config.edits.pool_windows :]
        return self._edit(Operation.EXPAND, target.region, None, reason, mine, self._samples(mine))

    def _child(self) -> Edit | None:
        """An opened region in which something new goes on: open a child of it."""
        for watched in self._of_origin(SINCE):
            if "novelty" in watched.alarms(self.at_event):
                found = watched.excursion(["novelty"])
                if len(found) >= self._config.edits.min_windows * watched.backoff:
                    region_id = watched.region.region_id
                    text = f"{len(found)} windows of opened region {region_id} no longer look as they did"
                    return self._open([s.evidence for s in found], text, watched, [region_id])
        return None

    def _open(self, evidence: Sequence[Evidence], text: str, loudest: Watched, regions: list[int]) -> Edit | None:
        """Add a region on these windows, if there is room and budget."""
        # Of a long excursion, the newest windows that the budget pays for will do.
        windows = evidence[-self._affordable() :] if self._affordable() else ()
        if len(self._watched) >= self._config.edits.max_regions or len(windows) < self._config.edits.min_windows:
            return None
        region_id = self._next_region_id
        self._next_region_id += 1
        mine = [Evidence(e.event_id, e.offset, region_id) for e in windows]
        reason = self._reason(loudest, "drift", text) | {"regions": regions}
        return self._edit(Operation.ADD, region_id, None, reason, mine, self._samples())

    def _between(self) -> Edit | None:
        """A set-up region whose windows have come to lie between it and another: move their boundary."""
        for watched in self._of_origin(SET_UP):
            for signal in BETWEEN:
                if signal in watched.alarms(self.at_event):
                    edit = self._boundary(watched, signal)
                    if edit:
                        return edit
        return None

    def _boundary(self, watched: Watched, signal: str) -> Edit | None:
        """Expand between a region and its likeliest rival, on the windows that raised the alarm."""
        region_id, setup = watched.region.region_id, {w.region.region_id for w in self._of_origin(SET_UP)}
        start = watched.raised[signal][0]
        moves = [m for m in self._moves if m.at_event >= start and m.origin == region_id]
        found = watched.excursion([signal])
        rivals = Counter(m.target for m in moves) if signal == "shift" else Counter(s.rival for s in found)
        ranked = [r for r, _ in rivals.most_common() if r in setup - {region_id}]
        if not ranked:
            return None
        if signal == "shift":
            movers = {m.user for m in moves if m.target == ranked[0]}
            both = [*watched.seen, *self._watched[ranked[0]].seen]
            found = sorted((s for s in both if s.at_event >= start and s.user in movers), key=lambda s: s.at_event)
            text = f"{len(movers)} users moved from region {region_id} to region {ranked[0]}"
        else:
            text = f"{len(found)} windows of region {region_id} came to lie between it and region {ranked[0]}"
        if len(found) < self._config.edits.boundary_windows * watched.backoff:
            return None
        pair = sorted([region_id, ranked[0]])
        reason = self._reason(watched, signal, text) | {"regions": pair, "shares": self._shares(setup)}
        evidence = [s.evidence for s in found]
        return self._edit(Operation.EXPAND, watched.region, ranked[0], reason, evidence, self._samples())

    def _shares(self, setup: set[int]) -> dict[str, float]:
        """Share of the newest windows in each set-up region."""
        tastes = Counter(taste for _, taste in self._visits)
        total = sum(tastes[r] for r in setup)
        return {str(r): tastes[r] / total for r in sorted(setup)}

    def _refit(self) -> Edit | None:
        """An opened region that is known twice as well as when its boundary was fitted."""
        for watched in self._of_origin(SINCE):
            if len(watched.sample) >= 2 * watched.fitted * watched.backoff:
                text = (
                    f"{len(watched.sample)} windows of region {watched.region.region_id} are known, "
                    f"{watched.fitted} when its boundary was fitted"
                )
                evidence = list(watched.sample)[-self._config.edits.min_windows :]
                reason = self._reason(None, "evidence doubled", text)
                return self._edit(Operation.EXPAND, watched.region, None, reason, evidence, self._samples())
        return None

    def _audit(self) -> Edit | None:
        """Try an opened region on the windows of a set-up region: what is new for one taste may be new for all."""
        target = self._largest_opened()
        if target is None:
            return None
        for watched in self._of_origin(SET_UP):
            if watched.audits >= MOST_AUDITS:
                continue
            start = max(watched.audited, target.region.opened_at)
            found = [s.evidence for s in watched.seen if s.at_event > start]
            if len(found) >= self._config.edits.min_windows * 2**watched.audits:
                region_id = watched.region.region_id
                text = (
                    f"would region {target.region.region_id} answer {len(found)} windows of region {region_id} better?"
                )
                reason = self._reason(None, AUDIT, text) | {"regions": [region_id]}
                mine = [Evidence(e.event_id, e.offset, target.region.region_id) for e in found]
                return self._edit(Operation.EXPAND, target.region, None, reason, mine, self._samples(mine))
        return None

    def _merge(self) -> Edit | None:
        """Two regions of one origin whose centroids came to coincide since one of them moved."""
        for origin in (SET_UP, SINCE):
            group = [w for w in self._of_origin(origin) if self._may_merge(w)]
            for i, one in enumerate(group):
                for two in group[i + 1 :]:
                    edit = self._merged(one, two) if one.region.version + two.region.version > 0 else None
                    if edit:
                        return edit
        return None

    def _may_merge(self, watched: Watched) -> bool:
        """Not soon after an edit, and less and less often after attempts in vain."""
        pause = self._config.edits.cool_down * 2**watched.apart if watched.apart else 0
        return self.at_event >= max(watched.quiet_until, watched.unmerged + pause)

    def _merged(self, one: Watched, two: Watched) -> Edit | None:
        apart = float(angles(one.region.centroid[None], two.region.centroid[None])[0, 0])
        least = self._config.edits.merge_angle * min(one.region.radius, two.region.radius)
        kept, gone = sorted((one, two), key=lambda w: -len(w.seen))
        if apart > least or not gone.seen:
            return None
        text = (
            f"the centroids of regions {kept.region.region_id} and {gone.region.region_id} are {apart:.3f} rad apart, "
            f"less than {least:.3f}"
        )
        reason = {"signal": "coincidence", "statistic": apart, "threshold": least, "text": text}
        evidence = [s.evidence for s in gone.seen][-self._config.edits.min_windows :]
        return self._edit(Operation.MERGE, kept.region, gone.region.region_id, reason, evidence, self._samples())

    def _retire(self) -> Edit | None:
        """A region that nobody visits any more."""
        window = self._config.monitor.visits_window
        if len(self._visits) < window:
            return None
        tops, tastes = Counter(v[0] for v in self._visits), Counter(v[1] for v in self._visits)
        for region_id, watched in sorted(self._watched.items()):
            setup = watched.region.origin == SET_UP
            # A set-up region is visited while its taste is, even if an opened region answers.
            share = (tastes if setup else tops)[region_id] / window
            watched.peak = max(watched.peak, share)
            usual = watched.region.prior if setup else watched.peak
            least = self._config.edits.retire_share * usual
            alone = len(self._of_origin(watched.region.origin)) == 1 and setup
            old_enough = self.at_event - watched.region.opened_at >= window
            if share < least and usual * window >= LEAST_VISITS and old_enough and not alone:
                text = f"{share:.2%} of the last {window} windows visited region {region_id}, {usual:.2%} used to"
                reason = {"signal": "visits", "statistic": share, "threshold": least, "text": text}
                return self._edit(Operation.RETIRE, watched.region, None, reason, [], self._samples())
        return None

    # --- what came of it ------------------------------------------------------------------------------

    def _after_update(self, edit: Edit, outcome: Outcome, quiet_until: int) -> None:
        watched = self._watched.get(edit.region_id)
        if watched is None:
            return
        # Windows of an update that did not help wait for more of their kind: alone they would only fail again.
        learned = self._learned(edit) if outcome.published else set()
        watched.tried = set() if outcome.published else {e.event_id for e in edit.windows}
        watched.fresh = deque((e for e in watched.fresh if e.event_id not in learned), maxlen=watched.fresh.maxlen)
        watched.learned.extend(e for e in edit.windows if e.event_id in learned)
        self._weigh(watched, outcome.published and _clear(outcome))
        watched.settle(quiet_until)
        for origin in self._of_origin(SET_UP):
            if self._in_question(origin):
                origin.taught += sum(s.evidence.event_id in learned for s in origin.seen)

    def _after_add(self, edit: Edit, outcome: Outcome, quiet_until: int) -> None:
        for region_id in edit.reason["regions"]:
            self._concerned(region_id, outcome.published, quiet_until)
        if outcome.operation is Operation.UPDATE:
            parent = self._watched[outcome.region_id]
            learned = self._learned(edit) if outcome.published else set()
            parent.fresh = deque((e for e in parent.fresh if e.event_id not in learned), maxlen=parent.fresh.maxlen)
            parent.learned.extend(e for e in edit.windows if e.event_id in learned)
        elif outcome.published:
            watched = self._watch(self._bank[edit.region_id], {})
            learned = self._learned(edit)
            watched.sample.extend(edit.windows)
            watched.fresh.extend(e for e in edit.windows if e.event_id not in learned)
            watched.learned.extend(e for e in edit.windows if e.event_id in learned)
            watched.fitted = len(watched.sample)
            watched.quiet_until = quiet_until
            self._refitted()

    def _after_expand(self, edit: Edit, outcome: Outcome, quiet_until: int) -> None:
        if edit.reason["signal"] == AUDIT:
            for region_id in edit.reason["regions"]:
                watched = self._watched[region_id]
                watched.audited = self.at_event
                watched.audits = 0 if outcome.published else watched.audits + 1
            if not outcome.published:
                return
        target = self._watched.get(edit.region_id)
        if outcome.published or target is None or target.region.origin == SET_UP:
            # Where an opened region was refused, the alarm stands: the next answer to it is an Add.
            for region_id in edit.reason.get("regions", [edit.region_id]):
                self._concerned(region_id, outcome.published, quiet_until)
        if target is None or target.region.origin == SET_UP:
            return
        target.quiet_until = quiet_until
        if not outcome.published:
            target.fitted = len(target.sample)
            for region_id in edit.reason.get("regions", []):
                if region_id in self._watched:
                    self._watched[region_id].refused = True
            return
        known = {e.event_id for e in target.sample}
        target.sample.extend(e for e in edit.windows if e.event_id not in known)
        waiting = {e.event_id for e in target.fresh} | known
        target.fresh.extend(e for e in edit.windows if e.event_id not in waiting)
        self._refitted()

    def _after_merge(self, edit: Edit, outcome: Outcome, quiet_until: int) -> None:  # noqa: ARG002
        for region_id in (edit.region_id, edit.other_region_id):
            watched = self._watched.get(region_id) if region_id is not None else None
            if watched is not None:
                watched.apart = 0 if outcome.published else watched.apart + 1
                watched.unmerged = self.at_event

    def _after_retire(self, edit: Edit, outcome: Outcome, quiet_until: int) -> None:
        """Nothing is left to keep of a region that ended."""

    def _concerned(self, region_id: int, published: bool, quiet_until: int) -> None:
        watched = self._watched.get(region_id)
        if watched is not None:
            self._weigh(watched, published)
            watched.taught, watched.refused = 0, False
            watched.settle(quiet_until)

    def _weigh(self, watched: Watched, helped: bool) -> None:
        """What helped may be asked for sooner; what did not, or hardly, needs twice the evidence."""
        watched.backoff = max(1, watched.backoff // 2) if helped else min(2 * watched.backoff, LONGEST_BACKOFF)

    def _learned(self, edit: Edit) -> set[str]:
        """The windows of an edit that were trained on; those held out are still to be learned."""
        judged = held_out(edit.reason, len(edit.windows), self._config.edits)
        return {e.event_id for e, unseen in zip(edit.windows, judged, strict=True) if not unseen}

    def _refitted(self) -> None:
        """Every boundary was fitted to all that is known."""
        for watched in self._of_origin(SINCE):
            watched.fitted = len(watched.sample)

    # --- shared ---------------------------------------------------------------------------------------

    def _of_origin(self, origin: str) -> list[Watched]:
        return [w for _, w in sorted(self._watched.items()) if w.region.origin == origin]

    def _samples(self, fresh: Sequence[Evidence] = ()) -> list[Evidence]:
        """Newest evidence of every opened region, each window once a region."""
        opened = self._of_origin(SINCE)
        # An edit is one record of the log: many regions have to share the room in it.
        room = MOST_SAMPLES // max(1, len(opened))
        newest = {(e.region_id, e.event_id): e for w in opened for e in list(w.sample)[-room:]}
        newest.update({(e.region_id, e.event_id): e for e in fresh})
        return sorted(newest.values(), key=lambda e: (e.region_id, e.offset))

    def _affordable(self) -> int:
        """Windows that the budget pays an edit for now."""
        training, edits = self._config.training, self._config.edits
        asked = sum(len(e.windows) for e in self._asked.values() if e.operation in (Operation.UPDATE, Operation.ADD))
        left = edits.passes_per_event * self._learnable - self.trained_windows - training.epochs * asked
        return max(0, int(left / (training.epochs * (1.0 - edits.held_out))))

    def _reason(self, watched: Watched | None, signal: str, text: str) -> dict[str, Any]:
        if watched is None:
            return {"signal": signal, "statistic": None, "threshold": None, "text": text}
        name = signal if signal in watched.raised else max(watched.raised, key=lambda s: watched.raised[s][1])
        return {
            "signal": name,
            "statistic": watched.raised[name][1],
            "threshold": watched.detectors[name].threshold,
            "text": text,
        }

    def _edit(
        self,
        operation: Operation,
        region: Region | int,
        other: int | None,
        reason: Mapping[str, Any],
        windows: Sequence[Evidence],
        samples: Sequence[Evidence] = (),
    ) -> Edit:
        region_id, version = (region, 0) if isinstance(region, int) else (region.region_id, region.version)
        training = self._config.training.model_dump() | self._config.adapter.model_dump()
        # The gate's version stands for what moved since: two edits on the same windows are two edits.
        asked = {**training, "gate_version": self._bank.gate_version, "other": other}
        identity = edit_id(operation, region_id, version, (e.event_id for e in windows), asked, self._seed)
        return Edit(
            identity,
            operation,
            region_id,
            other,
            version,
            self._bank.gate_version,
            reason,
            tuple(windows),
            tuple(samples),
            self.at_event,
            self.timestamp,
            int(identity[:8], 16),
        )


def _clear(outcome: Outcome) -> bool:
    """Whether an edit bought more than its held-out windows leave in doubt: one standard error."""
    judged = outcome.validation
    return judged is not None and judged["before"] - judged["after"] >= judged["error"]
