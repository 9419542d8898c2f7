"""Answers to errors: short JSON bodies that quote neither the request nor a traceback."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from consumers.server.follower import advised
from pipeline.errors import LogError
from pipeline.streams.interface import OversizeError

MAX_PROBLEMS = 10
"""Most problems of a request that are listed."""

MAX_NAME = 64
"""Longest part of a problem's place, in characters: the name of an unknown field comes from the request."""


def add_error_answers(app: FastAPI) -> None:
    """Register the answers below."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(OversizeError, _oversize)
    app.add_exception_handler(LogError, _no_log)
    app.add_exception_handler(Exception, _unexpected)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"detail": [_problem(one) for one in error.errors()[:MAX_PROBLEMS]]}, 422)


def _problem(error: Mapping[str, Any]) -> dict[str, Any]:
    place = [part[:MAX_NAME] if isinstance(part, str) else part for part in error["loc"]]
    reason = f": {error['ctx']['error']}" if error["type"] == "json_invalid" else ""
    return {"type": error["type"], "loc": place, "msg": error["msg"] + reason}


async def _oversize(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": f"nothing was written: {error}"}, 422)


async def _no_log(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": advised(error, request.app.state.service.instance)}, 503)


async def _unexpected(_request: Request, _error: Exception) -> JSONResponse:
    """Answer 500; uvicorn logs the error with its traceback."""
    return JSONResponse({"detail": "an unexpected error, which the server has logged"}, 500)
