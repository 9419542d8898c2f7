"""`GET /asyncapi.json`: the topics of the pipeline and the schemas of their records."""

from functools import cache
from typing import Any

from fastapi import APIRouter

from consumers.runtime.asyncapi import document

router = APIRouter(tags=["records"])


@router.get("/asyncapi.json")
@cache
def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3 document, for programs that write to the topics or read them."""
    return document()
