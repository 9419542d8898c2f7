"""A version on trial: a share of a region's users first, the same ones on every server.

A hash of user and version puts every user into one of so many crowds, and whole crowds are in or out: servers agree
without telling each other, each version has other users to begin with, and a crowd names nobody. The gate knows nothing
of it: windows go where they went, and where a canary does not reach a user, what the route gives its region goes to
the version before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.regions.bank import RegionBank
from pipeline.regions.mixing import weighted

CROWDS = 1_024
"""Enough of them to tell how far clicks differ from user to user, and few enough that each has many users."""


@dataclass(frozen=True)
class Canary:
    """A version that replaces another one, for some users.

    Attributes:
        region_id: whose versions they are.
        adapter: the version on trial, the newest of the region.
        incumbent: the one that everybody else is answered by.
        adapter_weight: of the region in its incumbent.
        share: of the crowds that are answered by the version on trial.
        since: revision with which the trial began.
    """

    region_id: int
    adapter: str
    incumbent: str
    adapter_weight: float
    share: float
    since: int

    def crowd(self, who: str) -> int:
        """The crowd that somebody is in."""
        digest = blake2b(f"{self.adapter} {who}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % CROWDS

    def reaches(self, who: str) -> bool:
        """Whether somebody is answered by the version on trial."""
        return bool(self.reached[self.crowd(who)])

    @property
    def reached(self) -> NDArray[np.bool_]:
        """(CROWDS,) True for those that are answered by the version on trial."""
        return np.arange(CROWDS) < self.share * CROWDS


def split(
    route: Array, bank: RegionBank, canaries: Sequence[Canary], kept: NDArray[np.bool_]
) -> tuple[Array, tuple[str | None, ...]]:
    """Say how much of each answer is whose, the incumbents of canaries in columns of their own.

    Args:
        route: (n, 1 + opened) weights of backbone and regions.
        bank: the regions.
        canaries: c of them, each of another opened region.
        kept: (n, c) True where the incumbent answers.

    Returns:
        (n, 1 + opened + c) shares in the answer, rows summing to 1, and the adapter of each column.
    """
    places = {region.region_id: place for place, region in enumerate(bank.opened, 1)}
    columns = [places[canary.region_id] for canary in canaries]
    old = route[:, columns] * kept
    new = route.copy()
    new[:, columns] -= old
    adapter_weight = np.array([*bank.adapter_weights, *(canary.adapter_weight for canary in canaries)])
    shares = weighted(np.concatenate([new, old], axis=1), adapter_weight)
    return shares, (*bank.adapters, *(canary.incumbent for canary in canaries))
