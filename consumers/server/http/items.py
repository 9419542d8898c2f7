"""`GET /items` and `GET /items/{id}`: the items that this server knows, and what it knows of one."""

from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Path, Request
from pydantic import BaseModel, Field

from consumers.http.problems import problems
from consumers.server.item_counts import is_known, known_from
from consumers.server.service import Service
from pipeline.events.cells import MAX_ID_LENGTH
from pipeline.events.item import Item

router = APIRouter(tags=["items"])

Moment = float | Literal["when_taken"] | None


class CountsBody(BaseModel):
    """Numbers of items."""

    known: int = Field(description="items of set-up and of the log that were not evicted")
    existing: int = Field(description="items that may be recommended now")
    withdrawn: int = Field(description="items that a tombstone withdrew")
    without_text: int = Field(description="items without a text")


class KnownItemBody(BaseModel):
    """One item as the server knows it."""

    item_id: str
    text: str
    attributes: dict[str, str]
    exists: bool = Field(description="true if it may be recommended now")
    known_from: Literal["set-up", "record", "interaction"] = Field(
        description="newest source: a record of the log, the set-up, or an interaction with an item nobody announced"
    )
    withdrawn: bool = Field(description="true if a tombstone withdrew it")
    available_from: Moment = Field(
        description="seconds since 1970; `when_taken`: from its first interaction on; null: not given"
    )
    expires: float | None = Field(description="seconds since 1970; null: never")


@router.get("/items")
def items(request: Request) -> CountsBody:
    """Numbers of items that this server knows."""
    service: Service = request.app.state.service
    return CountsBody.model_validate(service.items.counts(), from_attributes=True)


@router.get("/items/{item_id:path}", responses=problems(404))
def item(item_id: Annotated[str, Path(max_length=MAX_ID_LENGTH)], request: Request) -> KnownItemBody:
    """One item: its text, its origin, and whether it exists."""
    service: Service = request.app.state.service
    catalogue = service.items.catalogue
    if not is_known(catalogue, item_id):
        raise HTTPException(404, "this server knows no such item")
    record = (catalogue.item(item_id) or Item(item_id)).to_record()
    moments = {name: record.get(name) for name in ("available_from", "expires")}
    return KnownItemBody(
        **{name: record[name] for name in ("item_id", "text", "attributes")},
        exists=catalogue.exists(item_id),
        known_from=known_from(catalogue, item_id),
        withdrawn=catalogue.is_withdrawn(item_id),
        **moments,
    )
