"""`POST /recommend`: recommendations for a user or a history, now or as of an older revision."""

import secrets
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field, model_validator

from consumers.http.bodies import Body, Identifier, StrictRoute
from consumers.http.problems import problems
from consumers.server.batcher import Overloaded
from consumers.server.feedback import request_id_of
from consumers.server.recommender import Ask, Excluded
from consumers.server.service import Service
from pipeline.metrics.ranking import LIST_LENGTH

Ids = Annotated[list[Identifier], Field(max_length=10_000, fail_fast=True)]

router = APIRouter(tags=["recommendations"], route_class=StrictRoute)


class AskBody(Body):
    """A request: a user or a history, and options."""

    user_id: Identifier | None = Field(None, description="recommend to this user")
    history: list[Identifier] | None = Field(
        None, max_length=1000, fail_fast=True, description="or after these items, as if just taken: oldest first"
    )
    k: int = Field(LIST_LENGTH, ge=1, le=1000, description="number of items")
    exclude: Excluded | Ids | None = Field(
        None,
        description="`nothing`, the items of the `window`, or everything `taken`, as far as it is known; or item ids, "
        "beside the default, which is `nothing` with the setting windows.repeats, else `window`",
    )
    exclude_items: Ids = Field([], description="further item ids that must not be recommended")
    revision: int | None = Field(None, ge=-1, description="as of this revision; -1: set-up")
    explain: bool = Field(False, description="name the sources and leading features of each item")

    @model_validator(mode="after")
    def _one_of_them(self) -> "AskBody":
        if (self.user_id is None) == (self.history is None):
            raise ValueError("give a user_id or a history, and not both")
        return self


class ItemBody(BaseModel):
    """A recommended item."""

    item_id: str
    score: float = Field(description="probability that it comes next, among the candidates; 0 for an item that is none")
    title: str
    sources: list[str] | None = Field(None, description="candidate sources that proposed it; null unless asked for")
    features: dict[str, float] | None = Field(
        None, description="leading features, and the part of each in the ranking score; null unless asked for"
    )


class RecommendationBody(BaseModel):
    """Recommended items, and the origin of the answer."""

    request_id: str = Field(description="identifies the answer in feedback")
    items: list[ItemBody]
    answered_by: str = Field(description="`adapter`, `backbone`, or `trend` (online popularity) for an unknown user")
    region_id: int | None
    adapter: str | None = Field(description="adapter version of the region; null: the backbone")
    route: dict[int, float] = Field(description="region id -> weight in the answer; set-up regions together under 0")
    confidence: float = Field(description="highest posterior of the gate")
    revision: int = Field(description="revision that answered; -1: set-up")
    stood_in: bool = Field(description="true if the backbone replaced an adapter that could not be loaded")
    canary: int | None = Field(description="revision that started the canary trial of this answer; null: no trial")
    crowd: int | None = Field(description="bucket of the user in that trial")


@router.post("/recommend", responses=problems(404))
async def recommend(body: AskBody, request: Request) -> RecommendationBody:
    """Recommend items for the next interaction."""
    service: Service = request.app.state.service
    newest = service.live.view.revision
    if body.revision is not None and body.revision > newest:
        raise HTTPException(404, f"revision {body.revision} is not there yet: the newest is {newest}")
    history = None if body.history is None else tuple(body.history)
    kind = body.exclude if isinstance(body.exclude, str) else None
    ids = body.exclude if isinstance(body.exclude, list) else []
    ask = Ask(body.user_id, history, body.k, kind, (*ids, *body.exclude_items), body.revision, body.explain)
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
