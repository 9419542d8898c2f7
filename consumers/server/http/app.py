"""The FastAPI application: routes over one service, which starts and ends with it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

from consumers.http import health
from consumers.http.bearer import required_token
from consumers.http.body_limit import BodyLimit
from consumers.http.errors import add_error_answers
from consumers.http.problems import problems
from consumers.server.follower import advised
from consumers.server.http import admin, edits, feedback, items, lists, page, recommend, records, regions, stages
from consumers.server.service import Service
from pipeline.build_info import PROGRAM, version_of


def make_app(service: Service, token: str | None, max_body: int) -> FastAPI:
    """Make the application.

    Args:
        service: started and closed with it.
        token: of the administrator; without one there are no administrative calls.
        max_body: largest body of a request, in bytes.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        service.batcher.start()
        service.lists.start()
        service.follower.start()
        yield
        await service.lists.stop()
        await service.batcher.stop()
        service.close()

    app = FastAPI(title="RAIE", version=version_of(PROGRAM), lifespan=life, responses=problems(413, 422, 503))
    app.state.service, app.state.administration = service, bool(token)
    app.add_middleware(BodyLimit, most=max_body, setting="server.max_body")
    add_error_answers(app, lambda error: advised(error, service.instance))
    for module in (recommend, lists, regions, items, edits, stages, feedback, records, health, page):
        app.include_router(module.router)
    if token:
        app.include_router(
            admin.router,
            responses=problems(401, 409),
            dependencies=[Depends(required_token(token, "the administrator's token"))],
        )
    return app
