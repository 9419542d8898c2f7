"""`/healthz`, `/readyz` and `/metrics` of the server."""

from fastapi import APIRouter, Request, Response

from consumers.runtime.health import probe
from consumers.server.service import Service
from pipeline.telemetry import CONTENT_TYPE

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz(request: Request, response: Response) -> dict[str, str]:
    """200 while the process answers."""
    response.status_code, problem = probe("/healthz", request.app.state.service)
    return {"status": problem or "ok"}


@router.get("/readyz")
def readyz(request: Request, response: Response) -> dict[str, str]:
    """200 while the server has read the log and follows it; 503 otherwise, with the reason."""
    response.status_code, problem = probe("/readyz", request.app.state.service)
    return {"status": problem or "ready"}


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """All metrics, in Prometheus' text format."""
    service: Service = request.app.state.service
    service.gauge()
    return Response(service.metrics.expose(), media_type=CONTENT_TYPE)
