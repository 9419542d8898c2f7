"""The monitor: gated events and outcomes go in, edits and statistics come out."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from pipeline.config import Config
from pipeline.events.edit import Edit, Operation, Outcome
from pipeline.events.gated import GatedEvent
from pipeline.monitor import ingest, outcomes, statistics
from pipeline.monitor.claims import Claims
from pipeline.monitor.edit_factory import Proposal, new_edit
from pipeline.monitor.erasure import erase_user, forget_windows
from pipeline.monitor.rules.add import child, drifted
from pipeline.monitor.rules.expand import audit, between, refit
from pipeline.monitor.rules.inject import inject
from pipeline.monitor.rules.merge import merge
from pipeline.monitor.rules.retire import retire
from pipeline.monitor.rules.unlearn import unlearn
from pipeline.monitor.rules.update import updates
from pipeline.monitor.state import State
from pipeline.monitor.visits import record_peaks
from pipeline.regions.bank import RegionBank
from pipeline.setup.calibration import Calibration

Rule = Callable[[State], Iterator[Proposal]]
"""Function of the state that proposes edits, the best first, and changes nothing."""

BOUNDARY: tuple[Rule, ...] = (retire, merge, between, drifted, child, refit, audit)
"""Rules whose edits may move a boundary, the most pressing first."""

REFITTING: tuple[Rule, ...] = (drifted, child, refit, audit)
"""Those of them whose edits all fit the classifier of origins anew."""


class Monitor:
    """Decides on edits: evaluates the rules in order, and applies the outcomes of its edits.

    Args:
        config, bank, calibration, seed, setup_items: see `State`.

    Attributes:
        state: all of its state.
    """

    def __init__(
        self, config: Config, bank: RegionBank, calibration: Calibration, seed: int, setup_items: Collection[str]
    ) -> None:
        self.state = State(config, bank, calibration, seed, setup_items)

    @property
    def at_event(self) -> int:
        """Number of stream events so far."""
        return self.state.at_event

    @property
    def timestamp(self) -> float:
        """Latest event time so far, seconds."""
        return self.state.timestamp

    @property
    def trained_windows(self) -> int:
        """Passes over windows that the edits have cost so far."""
        return self.state.trained_windows

    @property
    def pending(self) -> Mapping[str, Edit]:
        """Edits without an outcome, by id."""
        return self.state.pending

    def observe(self, event: GatedEvent, offset: int) -> None:
        """Update the state with one event, whose record is at this offset of `gated`."""
        ingest.observe(self.state, event, offset)

    def erase(self, user: str) -> None:
        """Erase a user from the state."""
        erase_user(self.state, user)

    def unlearn(self, request: int) -> None:
        """Note a request to unlearn a user, by its offset in `gated`."""
        self.state.requests.append(request)

    def forget(self, windows: Collection[int]) -> None:
        """Take windows, by their offsets in `gated`, out of all evidence."""
        forget_windows(self.state, windows)

    def note_items(self, begun: Iterable[str], evicted: Iterable[str]) -> None:
        """Note items that exist from now on, and items that were evicted."""
        for item_id in begun:
            self.state.new_items.arrive(item_id)
        self.state.new_items.forget(evicted)

    def decide(self) -> list[Edit]:
        """Make edits that are due now; each region is in at most one pending edit.

        Updates come first, then boundaries, one in each call: more may be due until a call makes none.
        """
        proposals = self._of_requests() if self.state.requests else [*self._of_regions(), *self._of_items()]
        return [self._request(proposal) for proposal in proposals]

    def _of_requests(self) -> list[Proposal]:
        """An Unlearn changes what all edits start from: it waits for those under way, and later ones wait for it."""
        return [] if self.state.pending else [unlearn(self.state)]

    def _of_regions(self) -> list[Proposal]:
        state, claims = self.state, Claims(self.state)
        if claims.is_whole:
            return []
        boundary, waits = None, False
        if state.boundary_waits or not claims.is_empty:
            boundary, waits = _first_boundary(state, claims)
            if boundary and state.boundary_waits:
                # A region may always have an Update due: a boundary that has waited for one comes before the next.
                claims.hold(boundary)
        proposals = updates(state, claims.is_free)
        if proposals:
            state.boundary_waits = waits or (state.boundary_waits and boundary is not None)
            return proposals
        if claims.is_empty:
            boundary, waits = _first_boundary(state, claims)
        state.boundary_waits = waits
        record_peaks(state, boundary)
        return [boundary] if boundary else []

    def _of_items(self) -> list[Proposal]:
        """Injections change no region: they are made beside all other edits, one at a time."""
        alone = (Operation.INJECT, Operation.UNLEARN)
        if any(e.operation in alone for e in self.state.pending.values()):
            return []
        proposal = inject(self.state)
        return [proposal] if proposal else []

    def correct(self, unknown: Iterable[Edit], never_written: Collection[str]) -> None:
        """Take over edits that were decided by other rules, and give up those that are nowhere written.

        Args:
            unknown: edits in the log that this monitor has not decided.
            never_written: ids of edits that it has decided, and that are not there.
        """
        state = self.state
        for edit in filter(None, (state.pending.pop(edit_id, None) for edit_id in never_written)):
            if edit.operation is Operation.UNLEARN:
                state.requests[:0], state.unlearnings = edit.reason["requests"], state.unlearnings - 1
        for edit in unknown:
            state.pending[edit.edit_id] = edit
            state.next_region_id = max(state.next_region_id, edit.region_id + 1)
            if edit.operation is Operation.UNLEARN:
                answered = set(edit.reason["requests"])
                state.requests = [request for request in state.requests if request not in answered]
                state.unlearnings += 1

    def apply(self, outcome: Outcome, bank: RegionBank) -> None:
        """Update the state with the outcome of an edit, and with the regions after it.

        An outcome of no pending edit changes nothing: this monitor did not make the edit.
        """
        self.state.set_bank(bank)
        edit = self.state.pending.pop(outcome.edit_id, None)
        if edit is not None:
            # What an erasure costs is not taken from what drift may cost.
            self.state.trained_windows += 0 if edit.operation is Operation.UNLEARN else outcome.trained_windows
            outcomes.apply(self.state, edit, outcome)

    def set_bank(self, bank: RegionBank) -> None:
        """Replace the regions by the present ones."""
        self.state.set_bank(bank)

    def drift_statistics(self) -> list[tuple[int, str, float]]:
        """Region id, signal and statistic for all signals of all regions; the highest statistic of several phases."""
        regions = sorted(self.state.regions.items())
        return [(i, s, max(d.statistic for d in phases)) for i, w in regions for s, phases in w.detectors.items()]

    def shares(self) -> dict[int, statistics.Shares]:
        """Shares in the newest visits, by region id."""
        return statistics.shares(self.state)

    def separabilities(self) -> dict[int, float]:
        """AUC of set-up regions' windows against held-out set-up windows, by region id; 0.5 without drift."""
        measured = {i: w.separability for i, w in sorted(self.state.regions.items())}
        return {i: auc for i, auc in measured.items() if auc is not None}

    def statistics(self) -> list[dict[str, Any]]:
        """Per-region statistics since the last call, for metrics and reports."""
        return statistics.rows(self.state)

    def _request(self, proposal: Proposal) -> Edit:
        """Make a proposal a pending edit; an Add takes the next region id."""
        edit = new_edit(self.state, proposal, self.state.next_region_id)
        self.state.next_region_id += proposal.operation is Operation.ADD
        if proposal.operation is Operation.UNLEARN:
            self.state.requests, self.state.unlearnings = [], self.state.unlearnings + 1
        self.state.pending[edit.edit_id] = edit
        return edit


def _first_boundary(state: State, claims: Claims) -> tuple[Proposal | None, bool]:
    """Find the first boundary edit that touches nothing claimed; those before it claim what they touch.

    Returns:
        The edit, and whether one before it has to wait. What waits for the classifier of origins claims nothing: an Add
        may have it for long.
    """
    waits = False
    for rule in BOUNDARY:
        for proposal in () if claims.classifier and rule in REFITTING else rule(state):
            if claims.allows(proposal):
                return proposal, waits
            if not (claims.classifier and claims.refits(proposal)):
                claims.hold(proposal)
                waits = True
    return None, waits
