"""Section of the HTTP services: tokens, limits a client, TLS, trusted proxies."""

from ipaddress import ip_network
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, StringConstraints

from pipeline.config.section import Section

Role = Literal["read", "ingest", "admin"]
"""Right of a token: to read answers, to send events, items and feedback, or to act (roll back, pin, erase)."""

ROLES: tuple[Role, ...] = get_args(Role)

TokenName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""Name of a token. Lower case, as environment variables name it, too."""


class TokenSettings(Section):
    """One token; `raie token new` prints these lines."""

    roles: list[Role] = Field(min_length=1, description="rights of the token: read, ingest, admin")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False, description="SHA-256 of the token, in hexadecimal")


def _network(text: str) -> str:
    # uvicorn would take what is no address for a literal that nothing matches.
    ip_network(text)
    return text


class AccessSettings(Section):
    """Access to `raie serve` and `raie ingest`; see docs/security.md."""

    tokens: dict[TokenName, TokenSettings] = Field(
        {},
        description=(
            "name -> roles (read, ingest, admin) and sha256 of a token, as `raie token new` prints them; with any, "
            "every call needs one; without, only this machine is answered"
        ),
    )
    requests_per_second: float | None = Field(
        None,
        gt=0,
        description=(
            "most requests a second of a client, over two seconds; further ones are answered 429. A client is a "
            "token, or an address without one; null: any number"
        ),
    )
    requests_in_flight: int | None = Field(
        None, ge=1, description="most requests of a client that are being answered at once, likewise; null: any number"
    )
    certificate: str | None = Field(
        None, description="PEM file of the certificate, with those that sign it, for HTTPS; null: HTTP"
    )
    certificate_key: str | None = Field(None, description="PEM file of its private key, without a password")
    proxies: list[Annotated[str, AfterValidator(_network)]] = Field(
        [],
        description=(
            "addresses or networks of proxies in front, as 10.0.0.0/8: of these alone X-Forwarded-For and "
            "X-Forwarded-Proto are believed"
        ),
    )
