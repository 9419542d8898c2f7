"""Settings of access with tokens for tests."""

from consumers.http.tokens import sha256_of
from pipeline.config import AccessSettings
from pipeline.config.access import ROLES


def access_of(token: str | None, *roles: str, **more: object) -> AccessSettings:
    """Return settings with one token named `test`, with all roles where none is named; without any for None."""
    tokens = {} if token is None else {"test": {"roles": roles or ROLES, "sha256": sha256_of(token)}}
    return AccessSettings.model_validate({"tokens": tokens, **more})
