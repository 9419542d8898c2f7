"""`POST /feedback`: impressions and clicks, by request id."""

from collections import defaultdict
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Request
from pydantic import Field

from consumers.http.bodies import Body, Identifier, StrictRoute
from consumers.server.arms import Arms
from consumers.server.service import Service
from pipeline.events.feedback import Feedback
from pipeline.events.request_id import parse_request_id

router = APIRouter(tags=["feedback"], route_class=StrictRoute)


class FeedbackBody(Body):
    """One impression or click."""

    request_id: str = Field(description="from the answer of `/recommend`")
    kind: Literal["impression", "click"]
    item_ids: list[Identifier] = Field(max_length=1000, fail_fast=True)


@router.post("/feedback", status_code=202)
def feedback(
    body: Annotated[list[FeedbackBody], Field(min_length=1, max_length=1000, fail_fast=True)], request: Request
) -> None:
    """Write impressions and clicks into the log, each with the origin of its answer."""
    arms: Arms = request.app.state.arms
    checked: dict[Service, list[Feedback]] = defaultdict(list)
    for place, one in enumerate(body):
        answered = parse_request_id(one.request_id)
        if answered is None:
            raise HTTPException(422, f"request_id {place} is not of /recommend; nothing was written")
        origin = answered.region_id, answered.adapter, answered.revision
        of = arms.of_generation(answered.generation)
        checked[of].append(Feedback(one.request_id, one.kind, one.item_ids, *origin))
    for service, own in checked.items():
        service.feedback(own)
