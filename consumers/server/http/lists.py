"""`POST /newest`, `POST /trending` and `POST /similar`: lists of items that need no user."""

from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field

from consumers.http.bodies import Identifier, StrictRoute
from consumers.http.problems import problems
from consumers.server.http.answering import answering
from consumers.server.http.rules import RulesBody
from consumers.server.item_counts import is_known
from consumers.server.lister import ListAsk
from consumers.server.listing import Recommended
from consumers.server.service import Service

router = APIRouter(tags=["lists"], route_class=StrictRoute)


class OfRegionBody(RulesBody):
    """A list of items by what the users of one region, or all users, have taken."""

    region_id: Annotated[int, Field(ge=0, lt=2**53)] | None = Field(
        None, description="live region whose users count; null: all users"
    )


class SimilarBody(RulesBody):
    """A list of items similar to one of them."""

    item_id: Identifier = Field(description="this item")


class ListedBody(BaseModel):
    """An item of a list."""

    item_id: str
    score: float = Field(description="what the list is ordered by")
    title: str


class SimilarItemBody(ListedBody):
    """A similar item."""

    sources: list[str] = Field(description="`neighbours`: taken by the same users; `text`: its text is alike")


class ListBody(BaseModel):
    """A list of items, best first."""

    items: list[ListedBody]


class SimilarListBody(BaseModel):
    """Similar items, most similar first."""

    items: list[SimilarItemBody]


@router.post("/newest", responses=problems(404))
async def newest(body: OfRegionBody, request: Request) -> ListBody:
    """Items that were first taken, or became known, last; of a region, those that its users have taken.

    The score is minus the number of events since then.
    """
    found = await _of_region("newest", body, request.app.state.service)
    return ListBody.model_validate({"items": found}, from_attributes=True)


@router.post("/trending", responses=problems(404))
async def trending(body: OfRegionBody, request: Request) -> ListBody:
    """Items that are taken most of late, by all users or by those of a region.

    The score is the share of the newest events, older ones counting less.
    """
    found = await _of_region("trending", body, request.app.state.service)
    return ListBody.model_validate({"items": found}, from_attributes=True)


@router.post("/similar", responses=problems(404))
async def similar(body: SimilarBody, request: Request) -> SimilarListBody:
    """Items that the same users take, and items whose texts are alike.

    The score adds 1 / (60 + place) of the item in each of the two lists.
    """
    service: Service = request.app.state.service
    if not is_known(service.items.catalogue, body.item_id):
        raise HTTPException(404, "this server knows no such item")
    with answering(service):
        found = await service.lists.ask(
            ListAsk("similar", body.k, tuple(body.exclude_items), body.rules(), item_id=body.item_id)
        )
    return SimilarListBody.model_validate({"items": found}, from_attributes=True)


async def _of_region(
    kind: Literal["newest", "trending"], body: OfRegionBody, service: Service
) -> tuple[Recommended, ...]:
    live = (region.region_id for region in service.live.view.bank.live)
    if body.region_id is not None and body.region_id not in live:
        raise HTTPException(404, f"there is no live region {body.region_id}")
    ask = ListAsk(kind, body.k, tuple(body.exclude_items), body.rules(), body.region_id)
    with answering(service):
        return await service.lists.ask(ask)
