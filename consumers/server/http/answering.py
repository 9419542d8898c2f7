"""Answers to requests for recommendations that cannot be given."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import HTTPException

from consumers.server.batcher import Overloaded
from consumers.server.service import Service
from pipeline.errors import RequestError


@contextmanager
def answering(service: Service) -> Iterator[None]:
    """Answer 503 where too many requests are waiting, and 422 to one that cannot be answered as it stands."""
    try:
        yield
    except Overloaded:
        service.metrics.overloaded.inc()
        raise HTTPException(503, "too many requests are waiting", {"Retry-After": "1"}) from None
    except RequestError as error:
        raise HTTPException(422, str(error)) from None
