"""`GET /`: the control room, from files of the package; it loads nothing from other hosts."""

from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Response

router = APIRouter(include_in_schema=False)

KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # Scripts cannot insert unescaped text into the document.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""Content-Security-Policy: own files only, no inline script or style, no frame, no form."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

FILES = {
    file.name: file.read_bytes()
    for file in files("consumers.server").joinpath("dashboard").iterdir()
    if file.name.rpartition(".")[2] in KINDS
}
"""File name -> content; no other file is served."""


@router.get("/")
def page() -> Response:
    """The control room."""
    return file("index.html")


@router.get("/page/{name}")
def file(name: Annotated[str, Path(max_length=100)]) -> Response:
    """A file of the control room."""
    if name not in FILES:
        raise HTTPException(404, "the page has no such file")
    return Response(FILES[name], media_type=KINDS[name.rpartition(".")[2]], headers=HEADERS)
