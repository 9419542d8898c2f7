"""The FastAPI application of the ingest service."""

from fastapi import Depends, FastAPI

from consumers.http import health
from consumers.http.access import Access, documentation, needs
from consumers.http.body_limit import BodyLimit
from consumers.http.errors import add_error_answers
from consumers.ingest.http import batches
from consumers.ingest.service import IngestService
from pipeline.build_info import PROGRAM, version_of
from pipeline.config.access import AccessSettings
from pipeline.config.operation import IngestSettings


def make_app(service: IngestService, access: AccessSettings, settings: IngestSettings) -> FastAPI:
    """Make the application.

    Args:
        service: writes the batches.
        access: tokens and limits.
        settings: limits on bodies and batches.
    """
    app = FastAPI(title="RAIE ingest", version=version_of(PROGRAM), **documentation(access))
    app.state.service, app.state.max_batch = service, settings.max_batch
    app.add_middleware(BodyLimit, most=settings.max_body, setting="ingest.max_body")
    app.add_middleware(Access, settings=access, metrics=service.metrics)
    add_error_answers(app, service.advised)
    app.include_router(batches.router, dependencies=[Depends(needs("ingest", service.metrics))])
    app.include_router(health.router)
    return app
