"""Succession of services: when another generation is switched to, the server opens it beside the old one and swaps.

    old service    answers ──────────────────────────────┐ answers its last requests ──► closed
    generations    switch ──► new service opens, reads ──┴─► answers

    generations    split  ──► service of the shadow opens, reads ──► answers a share of the users until the split ends

A request is answered by the service that it began with, so none fails by a switch. A generation that cannot be opened
leaves the old one in place, and is tried again.
"""

import asyncio
import gc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from adapters_store.errors import StoreError
from consumers.http.body_limit import ASGIApp, Receive, Scope, Send
from consumers.runtime.generations import folder_of, read_generations
from consumers.server.arms import Arms
from consumers.server.service import Service
from pipeline.errors import RaieError
from pipeline.events.generation import Generation, Generations
from pipeline.streams.interface import Log

LOOK = 0.5
"""Seconds between two looks at the generations."""

POLL = 0.05
"""Seconds between two looks at a service that reads the log, or answers its last requests."""

PAUSE = 10.0
"""Seconds before a generation that could not be opened is tried again."""

Open = Callable[[Path], Service]
"""Function that opens a service of a set-up's folder."""


class InFlight:
    """ASGI middleware that knows the requests that are being answered.

    Args:
        app: application behind it.
        requests: holds a token of each such request.
    """

    def __init__(self, app: ASGIApp, requests: set[object]) -> None:
        self._app, self._requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the life of the application is none."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        token = object()
        self._requests.add(token)
        try:
            await self._app(scope, receive, send)
        finally:
            self._requests.discard(token)


class Succession:
    """Follows the generations of the log, and replaces the service of a server.

    Args:
        root: folder of the set-up of the first service.
        open_log: opens the log.
        open_service: opens a further service.
        say: shows a status line.

    Attributes:
        requests: tokens of the requests that are being answered.
    """

    def __init__(self, root: Path, open_log: Callable[[], Log], open_service: Open, say: Callable[[str], None]) -> None:
        self.requests: set[object] = set()
        self._root, self._open_log, self._open, self._say = root, open_log, open_service, say
        self._log: Log | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    async def follow(self, service: Service, answer_by: Callable[[Arms], None]) -> None:
        """Follow the generations until the task is cancelled; must run on the event loop of the services.

        Args:
            service: the one that answers now.
            answer_by: lets new requests be answered by other services.
        """
        arms = Arms(service)
        while True:
            try:
                found = await asyncio.to_thread(self._generations)
                new = await self._next(arms, found)
            except (RaieError, StoreError, OSError) as error:
                self._close_log()
                self._say(f"{error}; the server stays with {self._root}, and looks again in {PAUSE:g} s")
                await asyncio.sleep(PAUSE)
                continue
            if new == arms:
                await asyncio.sleep(LOOK)
                continue
            answer_by(new)
            self._root = folder_of(self._root, found.all[new.main.generation])
            self._say(_described(new, self._root))
            for old in set(arms.services) - set(new.services):
                task = asyncio.create_task(_leave(old, set(self.requests), self.requests))
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)
            arms = new

    async def close(self) -> None:
        """Close the services that still leave, and the log."""
        for task in list(self._leaving):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._close_log()

    async def _next(self, arms: Arms, found: Generations) -> Arms:
        """The services for a state of the generations; a switch does not wait for the second one."""
        if found.active.number != arms.main.generation:
            return Arms(await self._at(arms, found.active))
        if found.split is None:
            return Arms(arms.main)
        return Arms(arms.main, await self._at(arms, found.all[found.split.generation]), found.split)

    async def _at(self, arms: Arms, one: Generation) -> Service:
        """The service of a generation: the second one while it follows the log, or one that is opened."""
        other = arms.other
        if other is not None and other.generation == one.number and other.follower.ended is None:
            return other
        return await self._opened(folder_of(self._root, one))

    async def _opened(self, root: Path) -> Service:
        """Open the service of another set-up, and wait until it has read the log."""
        # It may be the one that leaves: both would read the log under one name.
        await asyncio.gather(*self._leaving)
        self._say(f"the generation in {root} is being loaded")
        new = await asyncio.to_thread(self._open, root)
        start(new)
        try:
            while new.unready() is not None:
                if new.follower.ended is not None:
                    raise RaieError(new.follower.ended)
                await asyncio.sleep(POLL)
        except BaseException:
            await stop(new)
            raise
        return new

    def _generations(self) -> Generations:
        if self._log is None:
            self._log = self._open_log()
        return read_generations(self._log)

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None


def _described(arms: Arms, root: Path) -> str:
    line = f"the server answers from {root}, generation {arms.main.generation}"
    if arms.split is None:
        return line
    return f"{line}, and {arms.split.share:.1%} of the users from generation {arms.split.generation}"


async def _leave(old: Service, theirs: set[object], requests: set[object]) -> None:
    """Close a service once the requests are answered that may have begun with it."""
    try:
        while theirs & requests:
            await asyncio.sleep(POLL)
    finally:
        for region in old.live.view.bank.regions:
            with suppress(KeyError):
                old.metrics.hit_rate.remove(region.region_id)
        await stop(old)
        if gc.get_freeze_count():
            # What was loaded before the first request was set aside from collections for good.
            gc.unfreeze()
            gc.collect()
            gc.freeze()


def start(service: Service) -> None:
    """Start a service; must be called on the event loop."""
    service.batcher.start()
    service.lists.start()
    service.follower.start()


async def stop(service: Service) -> None:
    """Stop a service after its present batches."""
    await service.lists.stop()
    await service.batcher.stop()
    await asyncio.to_thread(service.close)
