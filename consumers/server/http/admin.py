"""Administrative calls: they exist only if tokens are configured, and become records with the name of the token."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Request
from pydantic import Field

from adapters_store.errors import StoreError
from consumers.http.access import client_of
from consumers.http.bodies import Body, StrictRoute
from consumers.server.service import Service
from pipeline.errors import DataError

router = APIRouter(prefix="/admin", tags=["administration"], route_class=StrictRoute)

By = Annotated[str, Field(min_length=1, max_length=256, description="your name, for the record")]
Name = Annotated[str, Field(pattern=r"^r\d{4}_v\d{4}$", description="an adapter version")]


class RollbackBody(Body):
    """Region to roll back, and the version to restore."""

    region_id: int
    to: Name | None = Field(None, description="null: the previous version")
    by: By


class PinBody(Body):
    """Region to pin, and the version to pin it to."""

    region_id: int
    adapter: Name | None = Field(description="null: remove the pin")
    by: By


class ReloadBody(Body):
    """Author of a reload."""

    by: By


@router.post("/rollback")
def rollback(body: RollbackBody, request: Request) -> dict[str, int]:
    """Restore an older version of a region as a new revision."""
    service: Service = request.app.state.service
    try:
        return {"revision": service.rollback(body.region_id, body.to, body.by, client_of(request).token)}
    except (DataError, StoreError) as error:
        raise HTTPException(409, str(error)) from None


@router.post("/pin", status_code=202)
def pin(body: PinBody, request: Request) -> None:
    """Pin a region to a version on every server."""
    service: Service = request.app.state.service
    if body.adapter is not None and int(body.adapter[1:5]) != body.region_id:
        raise HTTPException(422, f"{body.adapter} is no version of region {body.region_id}")
    try:
        service.pin(body.region_id, body.adapter, body.by, client_of(request).token)
    except StoreError as error:
        raise HTTPException(409, str(error)) from None


@router.post("/reload", status_code=202)
def reload(body: ReloadBody, request: Request) -> None:
    """Make every server load the adapters again that it refused."""
    service: Service = request.app.state.service
    service.reload(body.by, client_of(request).token)
