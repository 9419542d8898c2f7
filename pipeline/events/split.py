"""Split of the users between two generations: a share of them is answered by the one in the shadow."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.events.buckets import bucket_of, reached_by


@dataclass(frozen=True)
class Split:
    """A share of the users, from one change of the share to the next.

    Attributes:
        number: of all splits of the log, from 1; another share is another split, whose answers are counted anew.
        salt: number of the split with which the experiment began: users stay on their side when the share changes.
        generation: answers the share.
        beside: answers all other users.
        share: of the users, above 0 and at most 1.
        since: seconds since 1970.
        by: who asked for it.
    """

    number: int
    salt: int
    generation: int
    beside: int
    share: float
    since: float
    by: str

    def bucket(self, user_id: str) -> int:
        """Bucket of a user."""
        return bucket_of(f"split {self.salt}", user_id)

    def arm(self, bucket: int) -> int:
        """Generation that answers the users of a bucket."""
        return self.generation if self.reached[bucket] else self.beside

    @property
    def reached(self) -> NDArray[np.bool_]:
        """(BUCKETS,) True for those of the share."""
        return reached_by(self.share)
