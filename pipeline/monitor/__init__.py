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

Each line has its room: `updates`, `openings` (what is new in set-up, children), `boundaries` (what lies between
regions, doubled evidence, audits), `endings`. They read one `State`, which `evidence` and `outcomes` write.
"""

from pipeline.monitor.monitor import Monitor

__all__ = ["Monitor"]
