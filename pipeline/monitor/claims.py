"""Claims of edits: the regions that pending edits touch, which no other edit may touch meanwhile.

Edits that touch different regions are pending together. An edit touches the regions that it changes and those whose
windows it rests on (`Edit.touched`). Beyond that

    an Add              touches the stream regions that have one of its windows on their route: one of them may turn out
                        to be its parent, which it then starts from, or updates instead
    a refit             of the classifier of origins touches that classifier, which is one model of all stream regions,
                        fitted to samples of each. Of two refits from one state, the second would undo the first: it
                        has no samples of the region that the first opens, and some of the one that the first ends. So
                        only one Add, or Expand, Merge or Retire of a stream region, is pending at a time.
    a Retire            does not touch the regions that its windows go to: their adapters and shapes stay
    an Inject           touches no region, an Unlearn all of them
"""

from pipeline.events.edit import Edit, Operation
from pipeline.monitor.edit_factory import Proposal
from pipeline.monitor.region_state import RegionState
from pipeline.monitor.state import State
from pipeline.regions.refits import refits_classifier


class Claims:
    """Claims of the pending edits of a state, and of a boundary that waits for them.

    Args:
        state: of the monitor.

    Attributes:
        is_whole: True if everything is claimed.
        classifier: True if the classifier of origins is.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        pending = [e for e in state.pending.values() if e.operation is not Operation.INJECT]
        self.is_whole = any(e.operation is Operation.UNLEARN for e in pending)
        self._regions = frozenset[int]().union(*(e.touched for e in pending))
        self._updated = [e.region_id for e in pending if e.operation is Operation.UPDATE]
        self._added = set[str]().union(*map(_windows, pending))
        self.classifier = any(self.refits(e) for e in pending)

    @property
    def is_empty(self) -> bool:
        """True if no pending edit touches a region."""
        return not self._regions

    def is_free(self, region_state: RegionState) -> bool:
        """Say whether an Update of a region touches nothing that is claimed."""
        return region_state.region_id not in self._regions and not _shares_windows(region_state, self._added)

    def allows(self, proposal: Proposal) -> bool:
        """Say whether a boundary edit touches nothing that is claimed."""
        is_refitted = self.classifier and self.refits(proposal)
        return not is_refitted and self._regions.isdisjoint(proposal.touched) and not self._has_parent(proposal)

    def hold(self, proposal: Proposal) -> None:
        """Claim what a boundary edit touches before it is made."""
        self._regions |= proposal.touched
        self._added |= _windows(proposal)
        self.classifier |= self.refits(proposal)

    def refits(self, edit: Edit | Proposal) -> bool:
        """Say whether an edit fits the classifier of origins anew."""
        return refits_classifier(edit.operation, edit.touched, self._state.bank)

    def _has_parent(self, proposal: Proposal) -> bool:
        """Say whether an Add may start from a region with a pending Update."""
        windows, regions = _windows(proposal), self._state.regions
        return any(i in regions and _shares_windows(regions[i], windows) for i in self._updated)


def _windows(edit: Edit | Proposal) -> set[str]:
    """Event ids of the windows of an Add; none of another edit."""
    return {w.event_id for w in edit.windows} if edit.operation is Operation.ADD else set()


def _shares_windows(region_state: RegionState, event_ids: set[str]) -> bool:
    """Say whether one of these windows is on the route to a stream region."""
    return bool(event_ids) and any(e.event_id in event_ids for e in region_state.sample)
