"""`POST /feedback`: impressions and clicks, by request id."""

from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

from consumers.server.feedback import parse_request_id
from consumers.server.service import Service
from pipeline.events.feedback import Feedback

router = APIRouter(tags=["feedback"])


class FeedbackBody(BaseModel):
    """One impression or click."""

    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(description="from the answer of `/recommend`")
    kind: Literal["impression", "click"]
    item_ids: list[Annotated[str, Field(min_length=1, max_length=256)]] = Field(max_length=1000)


@router.post("/feedback", status_code=202)
def feedback(body: Annotated[list[FeedbackBody], Field(min_length=1, max_length=1000)], request: Request) -> None:
    """Write impressions and clicks into the log, each with the origin of its answer."""
    service: Service = request.app.state.service
    checked: list[Feedback] = []
    for one in body:
        answered = parse_request_id(one.request_id)
        if answered is None:
            raise HTTPException(422, f"{one.request_id[:80]!r} is no request id of /recommend; nothing was written")
        origin = answered.region_id, answered.adapter, answered.revision
        checked.append(Feedback(one.request_id, one.kind, one.item_ids, *origin))
    service.feedback(checked)
