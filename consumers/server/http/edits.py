"""`GET /edits`, `GET /edits/{id}` and its explanation: edits, their reasons and their outcomes."""

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import PlainTextResponse

from consumers.http.problems import problems
from consumers.server.service import Service
from pipeline.errors import DataError

router = APIRouter(tags=["edits"])

SUMMARY = ("edit_id", "operation", "region_id", "other_region_id", "at_event", "timestamp")
OUTCOME = ("published", "version", "detail", "validation", "trained_windows", "moved_windows")


@router.get("/edits")
def edits(
    request: Request,
    region_id: int | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[dict[str, Any]]:
    """The newest edits first, with a summary of each."""
    service: Service = request.app.state.service
    return [_summary(edit, service) for edit in service.edits.newest(region_id, limit)]


@router.get("/edits/{edit_id}", responses=problems(404))
def edit(edit_id: str, request: Request) -> dict[str, Any]:
    """One edit: statistic and threshold behind it, its windows, validation before and after."""
    service: Service = request.app.state.service
    found = service.edits.edits.get(edit_id)
    if found is None:
        raise HTTPException(404, f"there is no edit {edit_id}")
    return {**found, "outcome": service.edits.outcomes.get(edit_id)}


@router.get("/edits/{edit_id}/explanation", response_class=PlainTextResponse, responses=problems(404))
def explanation(edit_id: str, request: Request) -> str:
    """Explanation of an edit that has ended, as `raie explain` gives it."""
    service: Service = request.app.state.service
    try:
        return service.explanation(edit_id)
    except DataError as error:
        raise HTTPException(404, str(error)) from None


def _summary(edit: dict[str, Any], service: Service) -> dict[str, Any]:
    outcome = service.edits.outcomes.get(edit["edit_id"])
    return {
        **{name: edit[name] for name in SUMMARY},
        "signal": edit["reason"].get("signal"),
        "statistic": edit["reason"].get("statistic"),
        "threshold": edit["reason"].get("threshold"),
        "why": edit["reason"].get("text"),
        "windows": edit["windows"]["count"],
        **{name: None if outcome is None else outcome.get(name) for name in OUTCOME},
    }
