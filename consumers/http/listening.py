"""The process around an HTTP service: a bound address, and uvicorn until a signal."""

import gc
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from consumers.http.exposure import is_readable_on_the_way
from consumers.http.loopback_names import LoopbackNames, is_loopback
from pipeline.config.access import AccessSettings
from pipeline.errors import ConfigError

SHUTDOWN_SECONDS = 3
"""Seconds after a signal to end within which requests are completed; half-sent ones are then cancelled."""


def listen(host: str, port: int, section: str) -> socket.socket:
    """Bind an address.

    Args:
        host: address.
        port: port, 0 for a free one.
        section: section of the configuration that has both, for the message.

    Raises:
        ConfigError: it cannot be bound; names the settings to change.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The event loop turns TCP_NODELAY on only where the protocol is named; without it kept-alive answers wait 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        where = f"{section}.host {host}, {section}.port {port}"
        raise ConfigError([f"{where}: cannot listen there ({error.strerror})"]) from None
    return listening


def run_http(
    application: Any, listening: socket.socket, access: AccessSettings, on_accepting: Callable[[], None]
) -> None:
    """Run an ASGI application on a bound socket, and call `on_accepting` once connections are accepted.

    On a loopback address it answers to names of this machine alone. With a certificate it speaks HTTPS. Forwarded
    headers count from the proxies of the settings alone, whatever FORWARDED_ALLOW_IPS says.
    """
    if is_loopback(bracketed(listening.getsockname()[0])):
        application = LoopbackNames(application)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                on_accepting()

    configuration = uvicorn.Config(
        application,
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        proxy_headers=bool(access.proxies),
        forwarded_allow_ips=list(access.proxies),
        ssl_certfile=access.certificate,
        ssl_keyfile=access.certificate_key,
    )
    # A collection that visits the objects of the libraries and the model stops every answer for a third of a second.
    gc.collect()
    gc.freeze()
    try:
        Server(configuration).run(sockets=[listening])
    finally:
        gc.unfreeze()


def bracketed(address: str) -> str:
    """Address as in a URL: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def access_line(host: str, port: int, access: AccessSettings) -> str:
    """Address of a service that accepts connections, and who may call it, in a line."""
    url = f"{'https' if access.certificate else 'http'}://{bracketed(host)}:{port}"
    if not access.tokens:
        return f"{url} (/docs: the API); open to everyone on this machine"
    line = f"{url}; every call needs one of {len(access.tokens)} tokens"
    if not is_readable_on_the_way(host, access):
        return line
    return f"{line}, which can be read on the way: set access.certificate, or put a proxy with TLS in front"
