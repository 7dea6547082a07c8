"""Turns many single calls at the same time into few calls with many items."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from saga.errors import Unavailable

T = TypeVar("T")
R = TypeVar("R")

LIMIT = 100
"""Items in one call."""


class Batcher(Generic[T, R]):
    """Calls `work` with all items since its last call, without waiting for more."""

    def __init__(self, work: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        self._work = work
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        """Return the result for this item, or raise what `work` raised for it.

        A batch that fails is repeated item by item, so that only the item that causes the failure fails; but
        not after `Unavailable`, which every item would meet.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:LIMIT], self._waiting[LIMIT:]
            await self._settle(batch)

    async def _settle(self, batch: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = zip(batch, await self._work([item for item, _ in batch]), strict=True)
            settled = [(future, result) for (_, future), result in results]
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, Unavailable):
                for one in batch:
                    await self._settle([one])
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for future, result in settled:
            if not future.done():
                future.set_result(result)
