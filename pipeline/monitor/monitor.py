"""The monitor as its callers see it: records and outcomes go in, edits and statistics come out."""

from collections.abc import Mapping
from typing import Any

from pipeline.config import Config
from pipeline.events.edit import Edit, Operation, Outcome
from pipeline.events.gated import GatedEvent
from pipeline.monitor import ingest, outcomes, statistics
from pipeline.monitor.rules.add import child, drifted
from pipeline.monitor.rules.expand import audit, between, refit
from pipeline.monitor.rules.merge import merge
from pipeline.monitor.rules.retire import retire
from pipeline.monitor.rules.update import updates
from pipeline.monitor.state import State
from pipeline.regions.bank import RegionBank
from pipeline.setup.calibration import Calibration

BOUNDARY = (retire, merge, between, drifted, child, refit, audit)
"""What may move a boundary, the most pressing first; one moves at a time."""


class Monitor:
    """Decides on edits: asks each decision in its turn, and takes in what came of those that were asked for.

    Args:
        config, bank, calibration, seed: what its `State` starts from.

    Attributes:
        state: everything that it knows; it keeps nothing beside.
    """

    def __init__(self, config: Config, bank: RegionBank, calibration: Calibration, seed: int) -> None:
        self.state = State(config, bank, calibration, seed)

    @property
    def at_event(self) -> int:
        """Stream events seen."""
        return self.state.at_event

    @property
    def timestamp(self) -> float:
        """Event time of the newest of them, seconds."""
        return self.state.timestamp

    @property
    def trained_windows(self) -> int:
        """Passes that the edits have cost so far."""
        return self.state.trained_windows

    @property
    def pending(self) -> Mapping[str, Edit]:
        """Edits that nothing came of yet, by id."""
        return self.state.pending

    def observe(self, gated: GatedEvent, offset: int) -> None:
        """Take in one record of `gated`."""
        ingest.take_in(self.state, gated, offset)

    def decide(self) -> list[Edit]:
        """The edits that the statistics call for now; each region is in at most one that is under way."""
        state = self.state
        # Where training takes its time, a boundary is not moved under an Update, nor an Update made under a moving
        # boundary: one of the two would be found out of date when it is done.
        moving = any(e.operation is not Operation.UPDATE for e in state.pending.values())
        edits = [] if moving else updates(state)
        if not state.pending and not edits:
            boundary = next(filter(None, (decision(state) for decision in BOUNDARY)), None)
            edits = [boundary] if boundary else []
        state.pending.update((e.edit_id, e) for e in edits)
        return edits

    def settle(self, outcome: Outcome, bank: RegionBank) -> None:
        """Take in what came of an edit, and the regions as they are after it."""
        edit = self.state.pending.pop(outcome.edit_id, None)
        self.state.trained_windows += outcome.trained_windows
        self.state.follow(bank)
        if edit is not None:
            outcomes.take_in(self.state, edit, outcome)

    def follow(self, bank: RegionBank) -> None:
        """Take in the regions as they are now, whoever changed them."""
        self.state.follow(bank)

    def evidence(self) -> list[tuple[int, str, float]]:
        """Region id, signal and statistic, of all signals of all regions; of several lanes the loudest."""
        region_state = sorted(self.state.regions.items())
        return [(i, s, max(d.statistic for d in phases)) for i, w in region_state for s, phases in w.detectors.items()]

    def shares(self) -> dict[int, statistics.Shares]:
        """Where the newest visits went, by region id."""
        return statistics.shares(self.state)

    def separabilities(self) -> dict[int, float]:
        """How well the windows of set-up regions were told from set-up windows, by region id; 0.5: not at all."""
        return {i: w.told for i, w in sorted(self.state.regions.items()) if w.told is not None}

    def statistics(self) -> list[dict[str, Any]]:
        """Per-region statistics since the last call, for metrics and reports."""
        return statistics.rows(self.state)
