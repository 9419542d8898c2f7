"""Guard of services that listen on this machine alone: they answer to names of this machine alone.

A page of a foreign site could otherwise point its own name at the loopback address (DNS rebinding), and a browser here
would let it read the answers.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from fastapi.responses import JSONResponse

from consumers.http.body_limit import ASGIApp, Receive, Scope, Send

LOCALHOST = "localhost"


class LoopbackNames:
    """ASGI middleware that answers 421 to a request under any other name than a loopback one.

    Args:
        app: the application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        names = [value.decode("latin-1") for key, value in scope.get("headers", ()) if key == b"host"]
        if scope["type"] != "http" or all(map(is_loopback, names)):
            await self._app(scope, receive, send)
            return
        detail = (
            "this service listens on a loopback address and answers to names of this machine alone: ask for localhost, "
            "or let the proxy in front of it set the header Host"
        )
        await JSONResponse({"detail": detail}, 421)(scope, receive, send)


def is_loopback(host: str) -> bool:
    """True for a name, with or without a port, of the loopback interface."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == LOCALHOST or ip_address(name).is_loopback
    except ValueError:
        return False
