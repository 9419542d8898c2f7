"""Administrative calls: they need the token, do not exist without one, and are records in the log."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from adapters_store.errors import StoreError
from consumers.server.service import Service
from pipeline.errors import DataError


def _authorised(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]
) -> None:
    token: str = request.app.state.token
    # Compared in constant time: the time of an answer says nothing of the token.
    if given is None or not secrets.compare_digest(given.credentials.encode(), token.encode()):
        raise HTTPException(401, "this call needs the administrator's token", {"WWW-Authenticate": "Bearer"})


router = APIRouter(prefix="/admin", tags=["administration"], dependencies=[Depends(_authorised)])

By = Annotated[str, Field(min_length=1, max_length=256, description="who asks, for the record")]
Name = Annotated[str, Field(pattern=r"^r\d{4}_v\d{4}$", description="an adapter version")]


class RollbackBody(BaseModel):
    """Which region to put back, and to which version."""

    model_config = ConfigDict(extra="forbid")

    region_id: int
    to: Name | None = Field(None, description="null: the version before the present one")
    by: By


class PinBody(BaseModel):
    """Which region to hold, and at which version."""

    model_config = ConfigDict(extra="forbid")

    region_id: int
    adapter: Name | None = Field(description="null: let it follow the log again")
    by: By


class ReloadBody(BaseModel):
    """Who asks."""

    model_config = ConfigDict(extra="forbid")

    by: By


@router.post("/rollback")
def rollback(body: RollbackBody, request: Request) -> dict[str, int]:
    """Republish an older version of a region as a new revision."""
    service: Service = request.app.state.service
    try:
        return {"revision": service.rollback(body.region_id, body.to, body.by)}
    except (DataError, StoreError) as error:
        raise HTTPException(409, str(error)) from None


@router.post("/pin", status_code=202)
def pin(body: PinBody, request: Request) -> None:
    """Hold a region at a version on every server."""
    service: Service = request.app.state.service
    if body.adapter is not None and int(body.adapter[1:5]) != body.region_id:
        raise HTTPException(422, f"{body.adapter} is no version of region {body.region_id}")
    try:
        service.pin(body.region_id, body.adapter, body.by)
    except StoreError as error:
        raise HTTPException(409, str(error)) from None


@router.post("/reload", status_code=202)
def reload(body: ReloadBody, request: Request) -> None:
    """Have every server try again what it refused."""
    service: Service = request.app.state.service
    service.reload(body.by)
