"""Buckets of users: a hash of a salt and a user assigns every user to one, the same on every server.

So servers agree without communication on who is in a share of the users, another salt begins with other users, and a
bucket does not identify a user. A share is made of whole buckets from the first on: where it grows, users are added and
none leaves.
"""

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

BUCKETS = 1_024
"""Enough buckets to estimate the variance of clicks between users, and few enough that each has many users."""


def bucket_of(salt: str, user: str) -> int:
    """Bucket of a user."""
    digest = blake2b(f"{salt} {user}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % BUCKETS


def reached_by(share: float) -> NDArray[np.bool_]:
    """(BUCKETS,) True for those of a share of the users."""
    return np.arange(BUCKETS) < share * BUCKETS
