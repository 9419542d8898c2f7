"""`/healthz`, `/readyz` and `/metrics` of a service, which is the application's `state.service`."""

from typing import Any, Protocol

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from consumers.runtime.health import Health, probe
from pipeline.telemetry import CONTENT_TYPE, Metrics

router = APIRouter(tags=["health"])

UNAVAILABLE: dict[int | str, dict[str, Any]] = {503: {"model": dict[str, str], "description": "the problem"}}


class Service(Health, Protocol):
    """A service with health and metrics."""

    @property
    def metrics(self) -> Metrics:
        """Metrics of the process."""

    def gauge(self) -> None:
        """Update the gauges."""


@router.get("/healthz", responses=UNAVAILABLE)
def healthz(request: Request, response: Response) -> dict[str, str]:
    """200 while the process answers."""
    response.status_code, problem = probe("/healthz", request.app.state.service)
    return {"status": problem or "ok"}


@router.get("/readyz", responses=UNAVAILABLE)
def readyz(request: Request, response: Response) -> dict[str, str]:
    """200 while the service can be sent requests; 503 otherwise, with the reason."""
    response.status_code, problem = probe("/readyz", request.app.state.service)
    return {"status": problem or "ready"}


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """All metrics, in Prometheus' text format."""
    service: Service = request.app.state.service
    service.gauge()
    return Response(service.metrics.expose(), media_type=CONTENT_TYPE)
