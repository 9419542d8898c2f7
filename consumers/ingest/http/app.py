"""The FastAPI application of the ingest service."""

from fastapi import Depends, FastAPI

from consumers.http import health
from consumers.http.bearer import required_token
from consumers.http.body_limit import BodyLimit
from consumers.http.errors import add_error_answers
from consumers.ingest.http import batches
from consumers.ingest.service import IngestService
from pipeline.build_info import PROGRAM, version_of
from pipeline.config.operation import IngestSettings


def make_app(service: IngestService, token: str | None, settings: IngestSettings) -> FastAPI:
    """Make the application.

    Args:
        service: writes the batches.
        token: required by every call but those for health and metrics; None: no token.
        settings: limits on bodies and batches.
    """
    app = FastAPI(title="RAIE ingest", version=version_of(PROGRAM))
    app.state.service, app.state.max_batch = service, settings.max_batch
    app.add_middleware(BodyLimit, most=settings.max_body, setting="ingest.max_body")
    add_error_answers(app, service.advised)
    required = [Depends(required_token(token, "the token of the ingest service"))] if token else []
    app.include_router(batches.router, dependencies=required)
    app.include_router(health.router)
    return app
