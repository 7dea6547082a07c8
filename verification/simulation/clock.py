"""Virtual time: an event loop that never waits, and the UTC clocks that go with it."""

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from contextvars import Context
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVarTuple

from saga.errors import SagaError

Ts = TypeVarTuple("Ts")

EPOCH = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Deadlock(SagaError):
    """Nothing is ready and no timer is set, so that what is awaited can never happen."""


class Call(asyncio.TimerHandle):
    """A callback that can be cancelled before its turn; lighter than asyncio's handles."""

    __slots__ = ()

    def __init__(
        self, callback: Callable[..., object], arguments: tuple[Any, ...], context: Context | None
    ) -> None:
        self._callback = callback
        self._args = arguments
        self._context = context
        self._cancelled = False

    def cancel(self) -> None:
        """Do not call it any more."""
        self._cancelled = True


class Sleep:
    """An awaitable that ends after some seconds: `asyncio.sleep` with half as many calls of the loop.

    The timer calls the awaiting task. It has what a task needs of a future, and no more.
    """

    __slots__ = ("_asyncio_future_blocking", "_call", "_context", "_delay", "_loop", "_wake_up")

    def __init__(self, loop: asyncio.AbstractEventLoop, delay: float) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._delay = delay

    def __await__(self) -> Generator["Sleep", None, None]:
        self._asyncio_future_blocking = True
        yield self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop, which the task compares with its own."""
        return self._loop

    def add_done_callback(self, wake_up: Callable[["Sleep"], object], *, context: Context) -> None:
        """Have the task called when the time has come."""
        self._wake_up, self._context = wake_up, context
        self._call = self._loop.call_later(self._delay, wake_up, self, context=context)

    def cancel(self, msg: object = None) -> bool:
        """Have the task called at once; `result` then raises."""
        self._loop.call_soon(self._wake_up, self, context=self._context)
        self._call.cancel()
        return True

    def result(self) -> None:
        """Raise `CancelledError` if the time has not come."""
        call = self._call
        # Break the reference cycle: there are too many of them for the garbage collector.
        del self._call, self._wake_up
        if call.cancelled():
            raise asyncio.CancelledError


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs what is ready in the order in which it became ready; when nothing is, jumps to the next timer.

    It does no input or output, so that the same program makes the same steps each time.
    """

    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._due: deque[Call] = deque()
        self._timers: list[tuple[float, int, Call]] = []
        self._numbers = count()
        self._tasks: list[asyncio.Task[Any]] = []
        self.errors: list[str] = []
        self.set_exception_handler(self._note)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Call:
        """Call this after everything that is already ready."""
        call = Call(callback, args, context)
        self._due.append(call)
        return call

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Call:
        """Call this at that time; calls for the same time run in the order they were made."""
        call = Call(callback, args, context)
        heappush(self._timers, (when, next(self._numbers), call))
        return call

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Call:
        """Call this after some seconds."""
        call = Call(callback, args, context)
        heappush(self._timers, (self._now + delay, next(self._numbers), call))
        return call

    def create_task(
        self, coro: Any, *, name: object = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        """Start a task; `discard` drops those that have not ended."""
        task = asyncio.Task(coro, loop=self, name=str(name) if name else "task", context=context)
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
                # Break the cycle between a task and what it awaits, so that both are freed at once.
                if (awaited := task._fut_waiter) is not None:  # type: ignore[attr-defined]
                    awaited.cancel()
                for callback, _ in task._callbacks or ():
                    task.remove_done_callback(callback)
        self._tasks.clear()
        self._due.clear()
        self._timers.clear()
        self.close()

    def _run_once(self) -> None:
        due, timers = self._due, self._timers
        while not self._stopping:
            if not due:
                self._go_to_the_next_timer()
            while timers and timers[0][0] <= self._now:
                due.append(heappop(timers)[2])
            for _ in range(len(due)):
                call = due.popleft()
                if call._cancelled:
                    continue
                try:
                    if call._context is None:
                        call._callback(*call._args)
                    else:
                        call._context.run(call._callback, *call._args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    self.call_exception_handler(
                        {"message": "a call failed", "exception": error, "handle": call}
                    )

    def _go_to_the_next_timer(self) -> None:
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heappop(timers)
        if not timers:
            raise Deadlock(f"nothing can happen any more after {self._now:g} s")
        self._now = max(self._now, timers[0][0])

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "handle" in context:
            self.errors.append(f"{context['message']}: {context.get('exception')!r}")


def utc_clock(loop: asyncio.AbstractEventLoop, skew: float = 0.0) -> Callable[[], datetime]:
    """Return a clock that is off by `skew` seconds, exact to the millisecond."""

    read_at, last = 0.0, EPOCH + timedelta(seconds=skew)

    def now() -> datetime:
        nonlocal read_at, last
        if (time := loop.time()) != read_at:
            read_at, last = time, EPOCH + timedelta(milliseconds=int((time + skew) * 1000))
        return last

    return now
