"""`POST /recommend` and `POST /recommend/users`: recommendations, now or as of an older revision."""

import asyncio
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field, model_validator

from consumers.http.bodies import Identifier, StrictRoute
from consumers.http.problems import problems
from consumers.server.arms import Arms, Part
from consumers.server.http.answering import answering
from consumers.server.http.peer_client import PeerClient
from consumers.server.http.rules import Ids, RulesBody
from consumers.server.recommender import Ask, Excluded, Recommendation
from consumers.server.service import Service
from pipeline.events.request_id import Answered

MOST_USERS = 1_000
"""Most users of one request."""

router = APIRouter(tags=["recommendations"], route_class=StrictRoute)


class OptionsBody(RulesBody):
    """Options of an answer, for one user or several."""

    exclude: Excluded | Ids | None = Field(
        None,
        description="`nothing`, the items of the `window`, or everything `taken`, as far as it is known; or item ids, "
        "beside the default, which is `nothing` with the setting windows.repeats, else `window`",
    )
    revision: int | None = Field(None, ge=-1, description="as of this revision; -1: set-up")
    explain: bool = Field(False, description="name the sources and leading features of each item")

    def ask(self, user_id: str | None) -> Ask:
        """The request for a user."""
        kind = self.exclude if isinstance(self.exclude, str) else None
        ids = self.exclude if isinstance(self.exclude, list) else []
        return Ask(
            user_id,
            k=self.k,
            excluded=kind,
            exclude=(*ids, *self.exclude_items),
            revision=self.revision,
            explain=self.explain,
            rules=self.rules(),
        )


class AskBody(OptionsBody):
    """A request: a user or a history, and options."""

    user_id: Identifier | None = Field(None, description="recommend to this user")
    history: list[Identifier] | None = Field(
        None, max_length=1000, fail_fast=True, description="or after these items, as if just taken: oldest first"
    )

    disliked: list[Annotated[int, Field(ge=0)]] = Field(
        [],
        max_length=1000,
        fail_fast=True,
        description="places in `history`, from 0, of items that were disliked; with `backbone.format: examples` alone",
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> "AskBody":
        if (self.user_id is None) == (self.history is None):
            raise ValueError("give a user_id or a history, and not both")
        if self.disliked and max(self.disliked) >= len(self.history or ()):
            raise ValueError("disliked names places in history, from 0, that are not there")
        return self

    def ask_one(self) -> Ask:
        """The request."""
        history = None if self.history is None else tuple(self.history)
        return replace(self.ask(self.user_id), history=history, disliked=tuple(sorted(set(self.disliked))))


class UsersBody(OptionsBody):
    """A request for several users, with the same options."""

    user_ids: list[Identifier] = Field(
        min_length=1, max_length=MOST_USERS, fail_fast=True, description="recommend to each of these users"
    )


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
    generation: int = Field(description="generation whose set-up answered (`raie refresh`)")
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


class UserRecommendationBody(RecommendationBody):
    """Recommended items of one of several users."""

    user_id: str


class RecommendationsBody(BaseModel):
    """Recommended items of several users, in the order in which they were named."""

    answers: list[UserRecommendationBody]


@router.post("/recommend", responses=problems(404))
async def recommend(body: AskBody, request: Request) -> RecommendationBody:
    """Recommend items for the next interaction."""
    arms: Arms = request.app.state.arms
    peers = arms.main.peers
    place = peers.place if body.user_id is None else peers.place_of(body.user_id)
    if place != peers.place:
        return RecommendationBody.model_validate(await _passed_on(place, request, await request.body()))
    _check_revision(body, arms.main)
    _check_users(body.user_id is not None, arms.main)
    ask = body.ask_one()
    service, part = arms.of(ask)
    if ask.disliked and not service.reads_dislikes:
        raise HTTPException(422, "this set-up reads no dislikes: it has another backbone.format than examples")
    with answering(service), service.metrics.request_seconds.time():
        found = await service.recommend(ask)
    return RecommendationBody(**answer_fields(found, service.generation, part))


@router.post("/recommend/users", responses=problems(404))
async def recommend_users(body: UsersBody, request: Request) -> RecommendationsBody:
    """Recommend items for the next interaction of each of several users."""
    peers = request.app.state.arms.main.peers
    parts: dict[int, list[int]] = {}
    for index, user_id in enumerate(body.user_ids):
        parts.setdefault(peers.place_of(user_id), []).append(index)
    asked = (_of_server(place, [body.user_ids[i] for i in part], body, request) for place, part in parts.items())
    found: dict[int, UserRecommendationBody] = {}
    for part, answers in zip(parts.values(), await asyncio.gather(*asked), strict=True):
        found |= dict(zip(part, answers, strict=True))
    return RecommendationsBody(answers=[found[index] for index in range(len(found))])


async def _of_server(
    place: int, user_ids: Sequence[str], body: UsersBody, request: Request
) -> list[UserRecommendationBody]:
    """Answers for users whom one server has."""
    arms: Arms = request.app.state.arms
    if place != arms.main.peers.place:
        asked = {**await request.json(), "user_ids": user_ids}
        return RecommendationsBody.model_validate(await _passed_on(place, request, json.dumps(asked).encode())).answers
    _check_revision(body, arms.main)
    _check_users(True, arms.main)
    asks = [body.ask(user_id) for user_id in user_ids]
    sides = [arms.of(ask) for ask in asks]
    found: dict[int, UserRecommendationBody] = {}
    for service in arms.services:
        own = [index for index, (of, _) in enumerate(sides) if of is service]
        with answering(service):
            answers = await service.recommend_each([asks[index] for index in own])
        for index, one in zip(own, answers, strict=True):
            fields = answer_fields(one, service.generation, sides[index][1])
            found[index] = UserRecommendationBody(user_id=user_ids[index], **fields)
    return [found[index] for index in range(len(asks))]


async def _passed_on(place: int, request: Request, body: bytes) -> Any:
    """Answer of the server at a place of the group."""
    client: PeerClient = request.app.state.peer_client
    arms: Arms = request.app.state.arms
    return await client.ask(arms.main.peers.urls[place], request, body)


def answer_fields(found: Recommendation, generation: int, part: Part | None = None) -> dict[str, Any]:
    """Fields of an answer, with a request id of its own.

    Args:
        found: the answer.
        generation: that gave it.
        part: split and bucket of it, None where it is not of a split.
    """
    split, bucket = (None, 0) if part is None else part
    origin = found.region_id, found.adapter, found.revision, found.canary, found.bucket or 0
    fields = asdict(found)
    fields["stood_in"], fields["crowd"] = fields.pop("fallback"), fields.pop("bucket")
    request_id = Answered(*origin, generation, split, bucket).request_id(secrets.token_hex(8))
    return {"request_id": request_id, "generation": generation, **fields}


def _check_users(named: bool, service: Service) -> None:
    """Answer 503 while the users of a server among others are still being read: to others they would be strangers."""
    if named and service.peers.urls and not service.follower.caught_up.is_set():
        raise HTTPException(503, "the users of this server are still being read", {"Retry-After": "1"})


def _check_revision(body: OptionsBody, service: Service) -> None:
    newest = service.live.view.revision
    if body.revision is not None and body.revision > newest:
        raise HTTPException(404, f"revision {body.revision} is not there yet: the newest is {newest}")
