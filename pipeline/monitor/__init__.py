"""The monitor: per-region statistics of gated events, and the edits that they lead to.

Every event is counted in one region, that of its highest posterior. Each region has a detector for each signal of the
table in `signals`. Alarms and counts lead to edits:

    doubt, shift in a set-up region     Expand   of its boundary with the region that the windows lie towards
    novelty, loss, rarity in a          Add      where there is no stream region yet; otherwise the largest one learns
      set-up region                              the windows in its next Update, followed by an
                                        Expand   of its boundary over them; if that is rejected, Add
    novelty in a stream region          Add      of a child of it
    loss in a stream region             Update   early; without an alarm, when enough new windows have come
    a stream region's sample doubled    Expand   its boundary is fitted again
    enough windows of a set-up region   Expand   as an audit: of the largest stream region over it, if that is better
      without an alarm
    centroids coincide                  Merge
    visits have almost ceased           Retire

`state` and `region_state` hold all state; `ingest` updates it with events, `outcomes` with outcomes of edits, `visits`
with peak shares. The `rules` read it and return a proposal, of which `monitor` makes a pending edit with
`edit_factory`. For people only: `statistics`, `separability`, `pending_alarms`. `snapshot` writes the state down.
"""

from pipeline.monitor.monitor import Monitor

__all__ = ["Monitor"]
