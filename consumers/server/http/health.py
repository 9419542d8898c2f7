"""`/healthz`, `/readyz`, `/metrics`."""

from fastapi import APIRouter, Request, Response

from consumers.server.service import Service
from pipeline.telemetry import CONTENT_TYPE

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(request: Request, response: Response) -> dict[str, str]:
    """200 once the log is read, and as long as it is followed; 503 otherwise, with the reason."""
    service: Service = request.app.state.service
    problem = service.problem()
    response.status_code = 200 if problem is None else 503
    return {"status": problem or "ready"}


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Everything for Prometheus."""
    service: Service = request.app.state.service
    service.gauge()
    return Response(service.metrics.expose(), media_type=CONTENT_TYPE)
