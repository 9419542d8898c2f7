"""`POST /recommend`: what a user, or a history, is recommended now or as of an older revision."""

import secrets
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from consumers.server.batcher import Overloaded
from consumers.server.feedback import request_id_of
from consumers.server.recommender import Ask
from consumers.server.service import Service
from pipeline.metrics.ranking import LIST_LENGTH

Identifier = Annotated[str, Field(min_length=1, max_length=256)]

router = APIRouter(tags=["recommendations"])


class AskBody(BaseModel):
    """Whom to answer, and how."""

    model_config = ConfigDict(extra="forbid")

    user_id: Identifier | None = Field(None, description="answer this user's current window")
    history: list[Identifier] | None = Field(
        None, max_length=1000, description="or these items, as if just taken: oldest first"
    )
    k: int = Field(LIST_LENGTH, ge=1, le=1000, description="how many items")
    exclude: list[Identifier] = Field([], max_length=10_000, description="item ids that must not be answered")
    revision: int | None = Field(None, ge=-1, description="as of this revision; -1: as set up")

    @model_validator(mode="after")
    def _one_of_them(self) -> "AskBody":
        if (self.user_id is None) == (self.history is None):
            raise ValueError("give a user_id or a history, and not both")
        return self


class ItemBody(BaseModel):
    """A recommended item."""

    item_id: str
    score: float = Field(description="probability that it comes next")
    title: str


class RecommendationBody(BaseModel):
    """What is recommended, and what answered."""

    request_id: str = Field(description="name it in feedback")
    items: list[ItemBody]
    answered_by: str = Field(description="`adapter`, `backbone`, or `trend` for a user who is not known")
    region_id: int | None
    adapter: str | None = Field(description="version that answers for the region; null: the backbone")
    route: dict[int, float] = Field(description="region -> weight in the answer; set-up regions as one under 0")
    confidence: float = Field(description="top posterior of the gate")
    revision: int = Field(description="newest revision in the answer; -1: as set up")
    stood_in: bool = Field(description="whether the backbone stood in for an adapter that could not be loaded")
    canary: int | None = Field(description="revision that began the trial that this is part of; null: of none")
    crowd: int | None = Field(description="the crowd of users that this is for, in a trial")


@router.post("/recommend")
async def recommend(body: AskBody, request: Request) -> RecommendationBody:
    """Recommend what comes next."""
    service: Service = request.app.state.service
    newest = service.live.view.revision
    if body.revision is not None and body.revision > newest:
        raise HTTPException(404, f"revision {body.revision} is not there yet: the newest is {newest}")
    history = None if body.history is None else tuple(body.history)
    ask = Ask(body.user_id, history, body.k, tuple(body.exclude), body.revision)
    try:
        with service.metrics.request_seconds.time():
            found = await service.recommend(ask)
    except Overloaded:
        service.metrics.overloaded.inc()
        raise HTTPException(503, "too many requests are waiting", {"Retry-After": "1"}) from None
    fields = asdict(found)
    stood_in, crowd = fields.pop("fallback"), fields.pop("bucket")
    request_id = request_id_of(secrets.token_hex(8), found)
    return RecommendationBody(request_id=request_id, stood_in=stood_in, crowd=crowd, **fields)
