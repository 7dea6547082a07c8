"""Virtual time: an event loop that never waits, and the UTC clocks that go with it."""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any

EPOCH = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Deadlock(RuntimeError):
    """Nothing is ready and no timer is set: what is awaited can never happen."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs what is ready in the order in which it became ready; when nothing is, jumps to the next timer.

    It does no input or output, so that the same program makes the same steps each time.
    """

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._tasks: list[asyncio.Task[Any]] = []
        self.errors: list[str] = []
        self.set_exception_handler(self._note)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def create_task(
        self, coro: Any, *, name: object = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        """Start a task; those that are left over are discarded by `discard`."""
        task = super().create_task(coro, name=str(name) if name else None, context=context)
        self._tasks.append(task)
        return task

    def discard(self) -> None:
        """Drop every task where it stands, as the end of a process does, and close the loop."""
        self.set_exception_handler(lambda loop, context: None)
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                with suppress(RuntimeError):
                    task.get_coro().close()
        self._tasks.clear()
        self.close()

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled
        if not ready:
            while scheduled and scheduled[0].cancelled():
                heapq.heappop(scheduled)
            if not scheduled:
                raise Deadlock(f"nothing can happen any more after {self._now:g} s")
            self._now = max(self._now, scheduled[0].when())
        while scheduled and scheduled[0].when() <= self._now:
            ready.append(heapq.heappop(scheduled))
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "handle" in context:
            self.errors.append(f"{context['message']}: {context.get('exception')!r}")


def utc_clock(loop: asyncio.AbstractEventLoop, skew: float = 0.0) -> Callable[[], datetime]:
    """Return a clock that goes wrong by `skew` seconds, exact to the millisecond."""

    def now() -> datetime:
        return EPOCH + timedelta(milliseconds=int((loop.time() + skew) * 1000))

    return now
