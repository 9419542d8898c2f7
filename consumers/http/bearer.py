"""Bearer token that a call requires."""

import secrets
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

Given = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


def required_token(token: str, name: str) -> Callable[[HTTPAuthorizationCredentials | None], None]:
    """Return a dependency of FastAPI that answers 401 to requests without a token.

    Args:
        token: the token.
        name: what to call it in the answer.
    """

    def required(given: Given) -> None:
        # Compared in constant time, so that response times reveal nothing about the token.
        if given is None or not secrets.compare_digest(given.credentials.encode(), token.encode()):
            raise HTTPException(401, f"this call needs {name}", {"WWW-Authenticate": "Bearer"})

    return required
