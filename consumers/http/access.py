"""Access to a service: a known token for every call but the open ones, a role for each route, limits a client.

The middleware stands in front of all routes and reads no body of a client that it does not know. A route without a role
is a mistake that a test finds.
"""

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from fastapi.datastructures import Headers
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from consumers.http.body_limit import ASGIApp, Receive, Scope, Send
from consumers.http.client_limits import ClientLimits
from consumers.http.tokens import ANYONE, Client, Tokens
from pipeline.config.access import AccessSettings, Role
from pipeline.telemetry import Metrics

HEALTH = ("/healthz", "/readyz", "/metrics")
"""Routes that need no token, and have no limit: probes and scrapes hold no secret, and they name no user or item."""

PUBLIC = ("/", "/openapi.json")
PUBLIC_FOLDER = "/page/"
"""Further routes without a token: the same for everyone, with no data of the pipeline."""

CLIENT = "raie.client"
"""Key of the client in the scope of a request."""


class Access:
    """ASGI middleware that answers 401 to unknown clients, and 429 to those that are beyond their limits.

    Args:
        app: application behind it.
        settings: tokens and limits.
        metrics: counts refusals.
        clock: monotonic seconds.
    """

    def __init__(
        self, app: ASGIApp, settings: AccessSettings, metrics: Metrics, clock: Callable[[], float] = monotonic
    ) -> None:
        self._app, self._tokens, self._metrics, self._clock = app, Tokens(settings.tokens), metrics, clock
        self._limits = ClientLimits(settings.requests_per_second, settings.requests_in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] in HEALTH:
            await self._app(scope, receive, send)
            return
        client = self._client_of(scope)
        # An address cannot have the form of a token's name and a colon.
        caller = f"token:{client.token}" if client and client.token else (scope.get("client") or ("unknown",))[0]
        exceeded = self._limits.begin(caller, self._clock())
        if exceeded:
            self._metrics.refused_requests.labels(exceeded.limit).inc()
            answer = JSONResponse(
                {"detail": "this client sends too many requests"}, 429, {"Retry-After": str(exceeded.retry_after)}
            )
            await answer(scope, receive, send)
            return
        try:
            await self._let_in(client, scope, receive, send)
        finally:
            self._limits.end(caller)

    async def _let_in(self, client: Client | None, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if client is None and not (path in PUBLIC or path.startswith(PUBLIC_FOLDER)):
            self._metrics.refused_requests.labels("token").inc()
            answer = JSONResponse(
                {"detail": "this call needs a token of this service"}, 401, {"WWW-Authenticate": "Bearer"}
            )
            await answer(scope, receive, send)
            return
        await self._app({**scope, CLIENT: client}, receive, send)

    def _client_of(self, scope: Scope) -> Client | None:
        if not self._tokens:
            return ANYONE
        scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        return self._tokens.client_of(token.strip()) if scheme.lower() == "bearer" else None


def needs(role: Role, metrics: Metrics) -> Callable[..., Awaitable[Client]]:
    """Return a dependency of FastAPI that answers 403 to clients without a role, and returns the client.

    Args:
        role: right that the routes need.
        metrics: counts refusals.
    """

    # The scheme is for the OpenAPI document: the middleware has looked at the token.
    # A plain function would be run in a thread, one more hop for every request.
    async def allowed(
        request: Request,
        _: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
    ) -> Client:
        client: Client = request.scope[CLIENT]
        if role not in client.roles:
            metrics.refused_requests.labels("role").inc()
            raise HTTPException(403, f"this call needs a token with the role {role}")
        return client

    return allowed


def documentation(access: AccessSettings) -> dict[str, Any]:
    """Arguments of FastAPI that leave out its pages of documentation where there are tokens.

    They load scripts of another host, and have a field to type a token into.
    """
    return {"docs_url": None, "redoc_url": None} if access.tokens else {}


def client_of(request: Request) -> Client:
    """Return the client of a request that was let in."""
    client: Client = request.scope[CLIENT]
    return client
