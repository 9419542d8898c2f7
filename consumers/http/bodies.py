"""JSON bodies that can be stored, and ids in them by the rules of events."""

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema, model_validator

from pipeline.errors import BadEvent
from pipeline.events.cells import MAX_ID_LENGTH, identifier


def _identifier(cell: object) -> str:
    try:
        return identifier(cell, "id")
    except BadEvent:
        # The refusal of an event quotes the value.
        limit = f"text of 1 to {MAX_ID_LENGTH} Unicode characters without NUL, or a whole number"
        raise ValueError(f"an id is {limit}") from None


Identifier = Annotated[
    str,
    BeforeValidator(_identifier),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH}, {"type": "integer"}]}),
]
"""Id of a user or an item: text or a whole number, as in events."""


MAX_FIELDS = 100
"""Most fields of an object: each unknown one would be an error of its own, and take time that other requests need."""


class Body(BaseModel):
    """JSON object without unknown fields."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, value: object) -> object:
        if isinstance(value, dict) and len(value) > MAX_FIELDS:
            raise ValueError(f"an object has at most {MAX_FIELDS} fields")
        return value


def parse_json(text: bytes) -> Any:
    """Parse a JSON body.

    Raises:
        json.JSONDecodeError: it is not JSON, or no record can store it: NaN, Infinity, half a surrogate pair.
    """
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except json.JSONDecodeError:
        raise
    except UnicodeError:
        raise json.JSONDecodeError("text must be Unicode, without halves of surrogate pairs", "", 0) from None
    except ValueError:
        raise json.JSONDecodeError("numbers must be finite and of moderate length", "", 0) from None
    except RecursionError:
        raise json.JSONDecodeError("values are nested too deeply", "", 0) from None
    return value


class _StrictRequest(Request):
    async def json(self) -> Any:
        return parse_json(await self.body())


class StrictRoute(APIRoute):
    """Route whose JSON body is parsed by `parse_json`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Handler of a request; see FastAPI."""
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return strict
