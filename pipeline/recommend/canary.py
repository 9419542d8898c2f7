"""Canary of a version: a share of a region's users gets it first, the same users on every server.

The users are those of whole buckets by version (pipeline/events/buckets.py), so each version begins with other users.
Routes stay as they are: for users whom a canary does not reach, the share of its region goes to the version before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.events.buckets import bucket_of, reached_by
from pipeline.regions.bank import RegionBank
from pipeline.regions.route import weighted


@dataclass(frozen=True)
class Canary:
    """A version that replaces another one, for some users.

    Attributes:
        region_id: region of both versions.
        adapter: the version on trial, the newest of the region.
        incumbent: the version of all other users.
        adapter_weight: weight of the incumbent in the scores of the region; the backbone has the rest.
        share: share of the buckets that get the version on trial.
        since: revision with which the trial began.
    """

    region_id: int
    adapter: str
    incumbent: str
    adapter_weight: float
    share: float
    since: int

    def bucket(self, key: str) -> int:
        """Bucket of a user, by the key of the user's requests."""
        return bucket_of(self.adapter, key)

    def reaches(self, key: str) -> bool:
        """Return True where a user gets the version on trial."""
        return bool(self.reached[self.bucket(key)])

    @property
    def reached(self) -> NDArray[np.bool_]:
        """(BUCKETS,) True for those that get the version on trial."""
        return reached_by(self.share)


def split(
    route: Array, bank: RegionBank, canaries: Sequence[Canary], incumbent: NDArray[np.bool_]
) -> tuple[Array, tuple[str | None, ...]]:
    """Split a route among adapters: the incumbents of canaries get columns of their own.

    Args:
        route: (n, 1 + stream) weights of backbone and regions.
        bank: the regions.
        canaries: c canaries, each of another stream region.
        incumbent: (n, c) True for windows that get the incumbent.

    Returns:
        (n, 1 + stream + c) weights in the probabilities, rows summing to 1, and the adapter of each column.
    """
    column_of = {region.region_id: column for column, region in enumerate(bank.stream, 1)}
    columns = [column_of[canary.region_id] for canary in canaries]
    old = route[:, columns] * incumbent
    new = route.copy()
    new[:, columns] -= old
    adapter_weight = np.array([*bank.adapter_weights, *(canary.adapter_weight for canary in canaries)])
    shares = weighted(np.concatenate([new, old], axis=1), adapter_weight)
    return shares, (*bank.adapters, *(canary.incumbent for canary in canaries))
