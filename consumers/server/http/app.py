"""The FastAPI application: routes over one service, which starts and ends with it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import Depends, FastAPI

from consumers.http import health
from consumers.http.access import Access, documentation, needs
from consumers.http.body_limit import BodyLimit
from consumers.http.errors import add_error_answers
from consumers.http.problems import problems
from consumers.http.tokens import Tokens
from consumers.server.arms import Arms
from consumers.server.follower import advised
from consumers.server.http import admin, edits, feedback, items, lists, page, recommend, records, regions, stages
from consumers.server.http.peer_client import PeerClient
from consumers.server.service import Service
from consumers.server.succession import InFlight, Succession, start, stop
from pipeline.build_info import PROGRAM, version_of
from pipeline.config.access import AccessSettings

READING = (recommend, lists, regions, items, edits, stages, records)
"""Modules of the routes that need the role `read`."""

UNKNOWN = problems(401, 403, 429)
"""Answers to clients that may not call a route, or not so often."""


def make_app(service: Service, access: AccessSettings, max_body: int, succession: Succession | None = None) -> FastAPI:
    """Make the application.

    Args:
        service: started and closed with it.
        access: tokens and limits; without tokens there are no administrative calls.
        max_body: largest body of a request, in bytes.
        succession: replaces the service when another generation is switched to; None: it stays.
    """

    def answer_by(arms: Arms) -> None:
        app.state.arms, app.state.service = arms, arms.main

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        start(service)
        client = PeerClient(access.certificate, service.metrics) if service.peers.urls else None
        app.state.peer_client = client
        following = None if succession is None else asyncio.create_task(succession.follow(service, answer_by))
        yield
        if succession is not None and following is not None:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
            await succession.close()
        for one in app.state.arms.services:
            await stop(one)
        if client is not None:
            await client.close()

    tokens = Tokens(access.tokens)
    app = FastAPI(
        title="RAIE",
        version=version_of(PROGRAM),
        lifespan=life,
        responses=problems(413, 422, 503),
        **documentation(access),
    )
    answer_by(Arms(service))
    app.state.administration = tokens.have("admin")
    app.add_middleware(BodyLimit, most=max_body, setting="server.max_body")
    if succession is not None:
        app.add_middleware(InFlight, requests=succession.requests)
    app.add_middleware(Access, settings=access, metrics=service.metrics)
    add_error_answers(app, lambda error: advised(error, service.instance))
    for module in (health, page):
        app.include_router(module.router)
    for module in READING:
        app.include_router(module.router, responses=UNKNOWN, dependencies=[Depends(needs("read", service.metrics))])
    app.include_router(feedback.router, responses=UNKNOWN, dependencies=[Depends(needs("ingest", service.metrics))])
    if tokens:
        app.include_router(
            admin.router,
            responses=UNKNOWN | problems(409),
            dependencies=[Depends(needs("admin", service.metrics))],
        )
    return app
