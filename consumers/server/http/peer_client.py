"""Client of the other servers of a group: requests for their users are passed on to them.

A request is passed on once. A server that gets one for a user whom it does not have answers 503, so servers that
disagree on their peers neither send it around nor answer from an empty history.
"""

import ssl
from collections.abc import Mapping
from typing import Any

import httpx2
from fastapi import HTTPException, Request

from pipeline.telemetry import Metrics

PASSED_ON = "raie-passed-on"
"""Header of a request that another server passes on."""

KEPT = ("authorization", "traceparent", "tracestate")
"""Headers that are passed on: who asks, and the trace that it is part of."""

CONNECT_SECONDS, ANSWER_SECONDS = 2.0, 10.0
"""Seconds for a connection, and for the answer, after which a server does not answer."""

BROKEN = (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError)
"""Errors of a connection that was kept and that the other server has closed meanwhile, when it started again."""


class PeerClient:
    """Passes requests on to other servers; to be closed.

    Args:
        certificate: PEM file that is trusted beside the usual authorities, as servers of a group may share it.
        metrics: counts the requests by outcome.
    """

    def __init__(self, certificate: str | None, metrics: Metrics) -> None:
        trusted = ssl.create_default_context()
        if certificate is not None:
            trusted.load_verify_locations(certificate)
        timeout = httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        self._client = httpx2.AsyncClient(verify=trusted, timeout=timeout, trust_env=False)
        self._metrics = metrics

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def ask(self, url: str, request: Request, body: bytes) -> Any:
        """Pass a request on, and return the JSON of its answer.

        Args:
            url: base URL of the other server.
            request: the request, whose path and headers are kept.
            body: JSON.

        Raises:
            HTTPException: 503 that names the other server, where it does not answer; else its own answer, where that
                is none of 200.
        """
        if PASSED_ON in request.headers:
            raise HTTPException(
                503,
                f"this server was asked for a user whom {url} has, by another server: they disagree on "
                "server.peers, server.place or log.partitions; give all the same list, and each its place",
            )
        headers = {name: request.headers[name] for name in KEPT if name in request.headers}
        headers |= {"content-type": "application/json", PASSED_ON: "1"}
        try:
            answer = await self._sent(f"{url}{request.url.path}", body, headers)
            found = answer.json()
            if not isinstance(found, dict):
                raise ValueError("what listens there is no server of this program")
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            self._metrics.passed_on.labels("unreachable").inc()
            reason = str(error) or type(error).__name__
            raise HTTPException(
                503,
                f"the server {url}, which has the user, does not answer ({reason}): start it, or correct server.peers",
                {"Retry-After": "1"},
            ) from None
        self._metrics.passed_on.labels("answered" if answer.is_success else "refused").inc()
        if not answer.is_success:
            kept = {"Retry-After": after} if (after := answer.headers.get("retry-after")) else None
            raise HTTPException(answer.status_code, found.get("detail"), kept)
        return found

    async def _sent(self, url: str, body: bytes, headers: Mapping[str, str]) -> httpx2.Response:
        try:
            return await self._client.post(url, content=body, headers=headers)
        except BROKEN:
            return await self._client.post(url, content=body, headers=headers)
