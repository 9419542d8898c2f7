"""The FastAPI application: routes over one service, which starts and ends with it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from consumers.server.follower import advised
from consumers.server.http import admin, edits, feedback, health, page, recommend, regions, stages
from consumers.server.service import Service
from pipeline.build_info import PROGRAM, version_of
from pipeline.errors import LogError


def make_app(service: Service, token: str | None) -> FastAPI:
    """Make the application.

    Args:
        service: started and closed with it.
        token: of the administrator; without one there are no administrative calls.

    A route that the log fails answers 503 with the reason.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        service.batcher.start()
        service.follower.start()
        yield
        await service.batcher.stop()
        service.close()

    def log_failed(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": advised(error, service.instance)}, 503)

    app = FastAPI(title="RAIE", version=version_of(PROGRAM), lifespan=life)
    app.add_exception_handler(LogError, log_failed)
    app.state.service = service
    for module in (recommend, regions, edits, stages, feedback, health, page):
        app.include_router(module.router)
    if token:
        app.state.token = token
        app.include_router(admin.router)
    return app
