"""Documentation of the answers to requests that fail."""

from typing import Any

from pydantic import BaseModel, Field

MEANINGS = {
    401: "the token is missing or wrong, where tokens are configured",
    403: "the token has not the role that the call needs",
    404: "there is no such thing",
    409: "the present state does not allow it",
    413: "the body is too large",
    422: "the request is malformed",
    429: "the client sends too much, or the pipeline is behind: send the request again after `Retry-After` seconds",
    503: "the log does not answer, or the service is overloaded or ending",
}
"""Status -> its meaning."""


class Problem(BaseModel):
    """A request that failed."""

    detail: Any = Field(description="the problem; for a malformed body a list of problems with their places")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route, router or application that may answer with these."""
    # Not by `model`, which would have the content type of the route's good answers.
    content = {"application/json": {"schema": Problem.model_json_schema()}}
    return {status: {"content": content, "description": MEANINGS[status]} for status in statuses}
