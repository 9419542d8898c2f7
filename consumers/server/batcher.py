"""Micro-batches: requests that wait while a batch is answered are answered together in the next one."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from consumers.server.recommender import Ask, Recommendation

Answer = Callable[[Sequence[Ask]], list[Recommendation]]


class Overloaded(Exception):
    """As many requests are waiting as may; the caller should come back later."""


class Batcher:
    """Collects requests and answers them in batches, one after the other, off the event loop.

    Args:
        answer: answers a batch; runs in one thread of its own.
        most: requests of a batch.
        waiting: requests that may wait; one more is refused at once.
        on_batch: told the size of each batch.
    """

    def __init__(self, answer: Answer, most: int, waiting: int, on_batch: Callable[[int], None]) -> None:
        self._answer = answer
        self._most = most
        self._queue: asyncio.Queue[tuple[Ask, asyncio.Future[Recommendation]]] = asyncio.Queue(waiting)
        self._on_batch = on_batch
        self._thread = ThreadPoolExecutor(1, "answers")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to answer; call it on the event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End after the batch in progress."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown()

    async def ask(self, ask: Ask) -> Recommendation:
        """Answer one request with the next batch.

        Raises:
            Overloaded: too many are waiting.
        """
        future: asyncio.Future[Recommendation] = asyncio.get_running_loop().create_future()
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
            await self._settle(batch)

    async def _settle(self, batch: Sequence[tuple[Ask, asyncio.Future[Recommendation]]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._thread, self._answer, [ask for ask, _ in batch])
        except Exception as error:
            # Whoever asked is told; the batches that follow are answered all the same.
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), found in zip(batch, answers, strict=True):
            # Somebody may have hung up meanwhile.
            if not future.done():
                future.set_result(found)
