"""Tokens of clients: made at random, kept as hashes, and compared in constant time."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.config.access import ROLES, Role, TokenSettings

PREFIX = "raie_"
"""Beginning of every token, by which scanners for leaked secrets find it."""

RANDOM_BYTES = 32
"""Bytes of a token: too many to be guessed, so that a hash without salt or stretching gives none away."""


@dataclass(frozen=True)
class Client:
    """A client that was let in.

    Attributes:
        token: name of its token, None where no tokens are configured.
        roles: its rights.
    """

    token: str | None
    roles: frozenset[Role]


ANYONE = Client(None, frozenset(ROLES))
"""Every client of a service without tokens, which this machine alone can reach."""


def new_token() -> str:
    """Make a token."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def sha256_of(token: str) -> str:
    """Return the hash of a token, as the configuration has it."""
    return hashlib.sha256(token.encode()).hexdigest()


class Tokens:
    """The tokens of the configuration.

    Args:
        settings: name -> token.
    """

    def __init__(self, settings: Mapping[str, TokenSettings]) -> None:
        self._clients = [(one.sha256, Client(name, frozenset(one.roles))) for name, one in settings.items()]

    def __bool__(self) -> bool:
        """True if there are any."""
        return bool(self._clients)

    def have(self, role: Role) -> bool:
        """True if any has a role."""
        return any(role in client.roles for _, client in self._clients)

    def client_of(self, token: str) -> Client | None:
        """Return the client of a token, None of an unknown one.

        Hashes are compared in constant time and all of them, so that response times reveal nothing.
        """
        given = sha256_of(token)
        found = [client for known, client in self._clients if secrets.compare_digest(known, given)]
        return found[0] if found else None
