"""Limit on the size of a request's body, checked before anything is parsed."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import HTTPException
from fastapi.datastructures import Headers
from fastapi.responses import JSONResponse

# The interface of ASGI (asgi.readthedocs.io).
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class BodyLimit:
    """ASGI middleware that answers 413 to larger bodies: by `Content-Length`, and without one while they arrive.

    Args:
        app: application behind it.
        most: largest body, in bytes.
        setting: its name in the configuration.
    """

    def __init__(self, app: ASGIApp, most: int, setting: str) -> None:
        self._app, self._most = app, most
        self._detail = f"a body may have at most {most} bytes ({setting})"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif int(Headers(scope=scope).get("content-length", "0")) > self._most:
            await JSONResponse({"detail": self._detail}, 413)(scope, receive, send)
        else:
            await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        size = 0

        async def counted() -> Message:
            nonlocal size
            try:
                message = await receive()
            except asyncio.CancelledError:
                # The server ends, and the rest of the body has not come within its patience.
                raise HTTPException(503, "the server is ending") from None
            size += len(message.get("body", b""))
            if size > self._most:
                raise HTTPException(413, self._detail)
            return message

        return counted
