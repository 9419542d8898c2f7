"""Checks before a service listens: the reach of its address, its tokens, and its certificate."""

import ssl
from collections.abc import Mapping

from consumers.http.loopback_names import is_loopback
from pipeline.config.access import AccessSettings
from pipeline.errors import ConfigError

RETIRED = {
    "server": (
        "RAIE_ADMIN_TOKEN",
        "--role admin",
        "every other call then needs a token as well, with --role read for answers and --role ingest for feedback",
    ),
    "ingest": ("RAIE_INGEST_TOKEN", "--role ingest", "add --role admin if its client may erase users"),
}
"""Section of a service -> variable that held its token before tokens had names, its role now, and what else changed."""


def check_exposure(section: str, host: str, access: AccessSettings, environment: Mapping[str, str]) -> None:
    """Check that a service is open to nobody by mistake.

    Args:
        section: section of the service in the configuration.
        host: address to listen on.
        access: tokens and certificate.
        environment: variables of the process.

    Raises:
        ConfigError: lists every problem, each with what to do.
    """
    problems = [*_retired(section, environment), *_open(section, host, access), *_certificate(access)]
    if problems:
        raise ConfigError(problems)


def is_readable_on_the_way(host: str, access: AccessSettings) -> bool:
    """True if tokens travel to other machines unencrypted, as far as the configuration says."""
    return not (is_loopback(host) or access.certificate or access.proxies)


def _retired(section: str, environment: Mapping[str, str]) -> list[str]:
    variable, role, change = RETIRED[section]
    if not environment.get(variable):
        return []
    return [
        f"{variable} is no longer read, because tokens have names and roles: unset it, run `raie token new NAME "
        f"{role}`, and write the line that it prints into access.tokens ({change})"
    ]


def _open(section: str, host: str, access: AccessSettings) -> list[str]:
    if is_loopback(host) or access.tokens:
        return []
    role = "ingest" if section == "ingest" else "read"
    return [
        f"{section}.host {host} can be reached by other machines, and access.tokens is empty: everyone there could "
        f"call it; run `raie token new NAME --role {role}` and write the line that it prints into access.tokens, or "
        f"set {section}.host to 127.0.0.1"
    ]


def _certificate(access: AccessSettings) -> list[str]:
    certificate, key = access.certificate, access.certificate_key
    if certificate is None and key is None:
        return []
    if certificate is None or key is None:
        return ["access.certificate and access.certificate_key belong together: set both, or none"]
    try:
        # An empty password, or the library asks for one at the terminal.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password="")
    except (OSError, ssl.SSLError) as error:
        return [f"access.certificate {certificate} with access.certificate_key {key} cannot be used ({error})"]
    return []
