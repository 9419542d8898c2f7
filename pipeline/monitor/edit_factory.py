"""Edits made of proposals: id, versions, seed and time."""

from pipeline.events.edit import Edit, edit_id
from pipeline.monitor.proposal import Proposal
from pipeline.monitor.state import State


def new_edit(state: State, proposal: Proposal, new_region_id: int) -> Edit:
    """Make the edit of a proposal as of now.

    Args:
        state: of the monitor.
        proposal: of a rule.
        new_region_id: id of the region that an Add opens.
    """
    region, windows = proposal.region, proposal.windows
    region_id, version = (new_region_id, 0) if region is None else (region.region_id, region.version)
    if region is None:
        windows = [e.for_region(region_id) for e in windows]
    training = state.config.training.model_dump() | state.config.adapter.model_dump()
    # The gate's version stands for all boundary moves since: two edits on the same windows have two ids.
    gate_version = state.bank.gate_version
    content = {**training, "gate_version": gate_version, "other": proposal.other, "passes": proposal.passes}
    identity = edit_id(proposal.operation, region_id, version, (e.event_id for e in windows), content, state.seed)
    return Edit(
        identity,
        proposal.operation,
        region_id,
        proposal.other,
        version,
        gate_version,
        proposal.reason,
        tuple(windows),
        tuple(proposal.samples),
        state.at_event,
        state.timestamp,
        int(identity[:8], 16),
        proposal.passes,
    )
