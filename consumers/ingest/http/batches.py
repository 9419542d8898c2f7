"""`POST /events` and `POST /items`: batches of JSON objects, by the rules of the topics' records."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, Field

from consumers.http.access import client_of
from consumers.http.bodies import Body, StrictRoute
from consumers.http.problems import Problem, problems
from consumers.ingest.service import Busy, IngestService
from consumers.producer.checks import Topic

router = APIRouter(tags=["ingest"], route_class=StrictRoute)

RETRY_SECONDS = 5
"""Value of `Retry-After` where the pipeline is behind."""

Records = Annotated[
    list[Any], Field(min_length=1, description="JSON objects, as in the topic; see `/asyncapi.json` of the server")
]


class Events(Body):
    """A batch of interactions."""

    events: Records


class Items(Body):
    """A batch of items."""

    items: Records


class Refused(BaseModel):
    """A record that was not written."""

    index: int = Field(description="place in the batch, from 0")
    reason: str = Field(description="short name of the fault, as in dead letters")
    detail: str


class Answer(BaseModel):
    """Outcome of a batch."""

    accepted: int = Field(description="records that are durable in the log")
    refused: list[Refused]


OUTCOMES: dict[int | str, dict[str, Any]] = {
    **problems(401, 403, 413, 429, 503),
    422: {"model": Answer | Problem, "description": "malformed, or every record of the batch is refused"},
}


@router.post("/events", status_code=202, responses=OUTCOMES)
def events(body: Records | Events, request: Request, response: Response) -> Answer:
    """Write interactions in one transaction; 202 once they are durable.

    Refused records are listed and left out; 422 if all are. A batch may be sent again whenever its answer was lost:
    an event is recognised by its `event_id`, and without one by its content. An erasure needs the role `admin` as well.
    """
    return _answer("interactions", body.events if isinstance(body, Events) else body, request, response)


@router.post("/items", status_code=202, responses=OUTCOMES)
def items(body: Records | Items, request: Request, response: Response) -> Answer:
    """Write items in one transaction; 202 once they are durable. The newest record of an item counts."""
    return _answer("items", body.items if isinstance(body, Items) else body, request, response)


def _answer(topic: Topic, batch: Sequence[object], request: Request, response: Response) -> Answer:
    service: IngestService = request.app.state.service
    most: int = request.app.state.max_batch
    if len(batch) > most:
        raise HTTPException(413, f"a batch may have at most {most} records (ingest.max_batch)")
    try:
        refused = service.ingest(topic, batch, client_of(request))
    except Busy as error:
        service.metrics.ingest_busy.inc()
        raise HTTPException(429, str(error), {"Retry-After": str(RETRY_SECONDS)}) from None
    if len(refused) == len(batch):
        response.status_code = 422
    listed = [Refused(index=one.index, reason=one.reason, detail=one.detail) for one in refused]
    return Answer(accepted=len(batch) - len(refused), refused=listed)
