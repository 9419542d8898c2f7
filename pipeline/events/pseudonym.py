"""Pseudonyms of users: names that nobody can link with a user once the user's key is erased.

A key is in the user's records of `users` alone, and is erased with them.
"""

import hashlib
import secrets

KEY_BYTES = 16
"""Bytes of a key."""

PSEUDONYM_BYTES = 12
"""Bytes of a pseudonym."""


def new_key() -> bytes:
    """Draw a key."""
    return secrets.token_bytes(KEY_BYTES)


def pseudonym(key: bytes, user_id: str) -> str:
    """Pseudonym of a user under a key, as hex digits."""
    return hashlib.blake2b(user_id.encode(), key=key, digest_size=PSEUDONYM_BYTES).hexdigest()
