"""`GET /status`, `/statistics`, `/split`, `/stages` and `/dead-letters`: the state of the pipeline."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from consumers.server.arms import Arms
from consumers.server.service import Service
from pipeline.build_info import PROGRAM, version_of

router = APIRouter(tags=["stages"])


@router.get("/status")
def status(request: Request) -> dict[str, Any]:
    """This server: size of its views, readiness, and availability of administrative calls."""
    service: Service = request.app.state.service
    view, memory = service.live.view, service.live.adapter_memory()
    newest = service.activity.intervals()[-1:]
    return {
        "status": service.unready() or "ready",
        "version": version_of(PROGRAM),
        "instance": service.instance,
        "generation": service.generation,
        "administration": request.app.state.administration,
        "peers": service.peers.urls,
        "place": service.peers.place,
        "revision": view.revision,
        "gate_version": view.bank.gate_version,
        "at_event": newest[0].at_event if newest else None,
        "timestamp": newest[0].timestamp if newest else None,
        "users": len(service.users),
        "edits": len(service.edits.edits),
        "published": service.edits.published(),
        "adapters_registered": memory.registered,
        "adapters_active": memory.active,
        "adapter_bytes": memory.bytes,
        "refused_adapters": dict(service.live.refusals),
        "freshness": service.freshness.quantiles(),
    }


@router.get("/statistics")
def statistics(
    request: Request,
    after: Annotated[int, Query(description="only intervals that ended after this event")] = -1,
) -> list[Mapping[str, Any]]:
    """The newest intervals of the monitor, oldest first: gate confidence and drift statistics by region.

    A region without events in an interval is not in it. Novelty is a p-value, and 1 for stream regions.
    """
    service: Service = request.app.state.service
    return [interval.to_record() for interval in service.activity.intervals(after)]


@router.get("/split")
def split(request: Request) -> dict[str, Any] | None:
    """The users who are answered by another generation, and what that has brought so far; null without such a split.

    Clicked answers over shown ones of both generations, and the difference, which may be looked at at any time.
    """
    arms: Arms = request.app.state.arms
    outcome = arms.outcome()
    return None if arms.split is None or outcome is None else {**asdict(arms.split), **outcome.to_record()}


@router.get("/stages")
def stages(request: Request) -> list[dict[str, Any]]:
    """Lag of each stage, by partition."""
    service: Service = request.app.state.service
    return [{**asdict(lag), "behind": lag.behind} for lag in service.lags()]


@router.get("/dead-letters")
def dead_letters(request: Request) -> dict[str, Any]:
    """Number of refused records by reason, number of replayed ones, and the newest refusals.

    Refused values, and the details that quote them, may be about a person: they stay in the log.
    """
    activity = request.app.state.service.activity
    return {
        "count": activity.refused.total(),
        "replayed": activity.replayed,
        "reasons": dict(activity.refused.most_common()),
        "newest": activity.letters(),
    }
