"""`GET /status`, `/statistics`, `/stages`, `/dead-letters`: how the pipeline does."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request

from consumers.server.service import Service
from pipeline.build_info import PROGRAM, version_of
from pipeline.errors import LogError

router = APIRouter(tags=["stages"])


@router.get("/status")
def status(request: Request) -> dict[str, Any]:
    """This server: what it knows, whether it keeps up, and whether there are administrative calls."""
    service: Service = request.app.state.service
    view, memory = service.live.view, service.live.adapter_memory()
    newest = service.history.intervals()[-1:]
    return {
        "status": service.problem() or "ready",
        "version": version_of(PROGRAM),
        "instance": service.instance,
        "administration": hasattr(request.app.state, "token"),
        "revision": view.revision,
        "gate_version": view.bank.gate_version,
        "at_event": newest[0]["at_event"] if newest else None,
        "timestamp": newest[0]["timestamp"] if newest else None,
        "users": service.knowledge.users,
        "edits": len(service.knowledge.edits),
        "published": sum(bool(outcome["published"]) for outcome in list(service.knowledge.outcomes.values())),
        "adapters_registered": memory.registered,
        "adapters_active": memory.active,
        "adapter_bytes": memory.bytes,
        "refused_adapters": dict(service.live.refusals),
    }


@router.get("/statistics")
def statistics(
    request: Request,
    after: Annotated[int, Query(description="only intervals that ended after this event")] = -1,
) -> list[Mapping[str, Any]]:
    """The newest intervals of the monitor, oldest first: how sure the gate was, and what each region's detector has.

    A region that had no events in an interval is not in it. Novelty is a p-value, and 1 for opened regions.
    """
    service: Service = request.app.state.service
    return service.history.intervals(after)


@router.get("/stages")
def stages(request: Request) -> list[dict[str, Any]]:
    """How far each stage is behind, by partition."""
    service: Service = request.app.state.service
    try:
        return [{**asdict(lag), "behind": lag.behind} for lag in service.lags()]
    except LogError as error:
        raise HTTPException(503, str(error)) from None


@router.get("/dead-letters")
def dead_letters(request: Request) -> dict[str, Any]:
    """How many records were refused by reason, how many of these were replayed, and the newest ones.

    What a record holds may be about a person and stays in the log: `raie dead-letters list` shows it.
    """
    history = request.app.state.service.history
    return {
        "count": history.refused.total(),
        "replayed": history.replayed,
        "reasons": dict(history.refused.most_common()),
        "newest": history.letters(),
    }
