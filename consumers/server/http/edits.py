"""`GET /edits`, `GET /edits/{id}`: what was changed, why, and what came of it."""

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request

from consumers.server.service import Service

router = APIRouter(tags=["edits"])


@router.get("/edits")
def edits(
    request: Request,
    region_id: int | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[dict[str, Any]]:
    """The newest edits first, without their numbers."""
    service: Service = request.app.state.service
    known = list(service.knowledge.edits.values())
    chosen = [edit for edit in known if region_id in (None, edit["region_id"])]
    newest = sorted(chosen, key=lambda edit: (edit["at_event"], edit["offset"]), reverse=True)[:limit]
    return [_summary(edit, service) for edit in newest]


@router.get("/edits/{edit_id}")
def edit(edit_id: str, request: Request) -> dict[str, Any]:
    """One edit: statistic and threshold that called for it, its windows, validation before and after."""
    service: Service = request.app.state.service
    found = service.knowledge.edits.get(edit_id)
    if found is None:
        raise HTTPException(404, f"there is no edit {edit_id}")
    return {**found, "outcome": service.knowledge.outcomes.get(edit_id)}


def _summary(edit: dict[str, Any], service: Service) -> dict[str, Any]:
    outcome = service.knowledge.outcomes.get(edit["edit_id"])
    return {
        **{name: edit[name] for name in ("edit_id", "operation", "region_id", "at_event", "timestamp")},
        "signal": edit["reason"].get("signal"),
        "why": edit["reason"].get("text"),
        "published": None if outcome is None else outcome["published"],
        "version": None if outcome is None else outcome["version"],
    }
