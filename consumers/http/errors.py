"""Answers to errors: short JSON bodies that quote neither the request nor a traceback."""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from pipeline.errors import LogError
from pipeline.streams.interface import OversizeError

MAX_PROBLEMS = 10
"""Most problems of a request that are listed."""

MAX_NAME = 64
"""Longest part of a problem's place, in characters: the name of an unknown field comes from the request."""


def add_error_answers(app: FastAPI, advised: Callable[[LogError], str]) -> None:
    """Register the answers below.

    Args:
        app: the application.
        advised: message of an error of the log, with what to do about it.
    """

    async def no_log(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, LogError)
        return JSONResponse({"detail": advised(error)}, 503)

    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(OversizeError, _oversize)
    app.add_exception_handler(LogError, no_log)
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


async def _unexpected(_request: Request, _error: Exception) -> JSONResponse:
    """Answer 500; uvicorn logs the error with its traceback."""
    return JSONResponse({"detail": "an unexpected error, which the server has logged"}, 500)
