"""Micro-batches: requests that arrive during a batch are answered together in the next one."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

from pipeline.errors import RequestError

A = TypeVar("A")
"""A request."""

B = TypeVar("B")
"""Its answer."""


OnBatch = Callable[[int], None]
"""Function called with the size of a batch."""


class Overloaded(Exception):
    """The queue is full; the caller should retry later."""


class Batcher(Generic[A, B]):
    """Collects requests and answers them in batches, one after the other, off the event loop.

    Args:
        answer: answers a batch; runs in one thread of its own. An error among the answers is raised to its caller.
        most: most requests of a batch.
        waiting: most requests that may wait; further ones are refused at once.
        on_batch: called with the size of each batch.
    """

    def __init__(
        self, answer: Callable[[Sequence[A]], Sequence[B | RequestError]], most: int, waiting: int, on_batch: OnBatch
    ) -> None:
        self._answer = answer
        self._most = most
        self._queue: asyncio.Queue[tuple[A, asyncio.Future[B]]] = asyncio.Queue(waiting)
        self._on_batch = on_batch
        self._thread = ThreadPoolExecutor(1, "answers")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to answer; must be called on the event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop after the present batch."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown()

    async def ask(self, ask: A) -> B:
        """Answer one request with the next batch.

        Raises:
            Overloaded: too many requests are waiting.
            RequestError: the request cannot be answered as it stands.
        """
        future: asyncio.Future[B] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((ask, future))
        except asyncio.QueueFull:
            raise Overloaded from None
        return await future

    async def _run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < self._most and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            self._on_batch(len(batch))
            await self._answer_batch(batch)

    async def _answer_batch(self, batch: Sequence[tuple[A, asyncio.Future[B]]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._thread, self._answer, [ask for ask, _ in batch])
        except Exception as error:
            # The callers of this batch get the error; later batches are answered all the same.
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), found in zip(batch, answers, strict=True):
            # A caller may have disconnected in the meantime.
            if future.done():
                continue
            if isinstance(found, RequestError):
                future.set_exception(found)
            else:
                future.set_result(found)
