"""How much work a service accepts while earlier work waits."""

from collections.abc import Awaitable, Callable
from time import monotonic

from saga.errors import Unavailable
from saga.http.problems import Problem

CHECK_EVERY = 1.0
"""Seconds between two questions to the broker."""
RETRY_AFTER = 5
"""Seconds after which a rejected caller may try again."""


class BackPressure:
    """Rejects requests while more than `limit` messages wait at the broker.

    A dependency of a route that causes messages. What it lets through between two looks at the broker counts
    as waiting. While the broker cannot be asked, every request passes: it is saved, and published later.
    """

    def __init__(
        self, backlog: Callable[[], Awaitable[int]], limit: int, clock: Callable[[], float] = monotonic
    ) -> None:
        self._backlog = backlog
        self._limit = limit
        self._clock = clock
        self._waiting = 0
        self._asked_at = -CHECK_EVERY

    async def __call__(self) -> None:
        """Let the request pass.

        Raises:
            Problem: 503, too many messages wait.
        """
        if (now := self._clock()) - self._asked_at >= CHECK_EVERY:
            self._asked_at = now
            try:
                self._waiting = await self._backlog()
            except Unavailable:
                self._waiting = 0
        if self._waiting >= self._limit:
            raise Problem(
                503,
                f"{self._limit} messages or more wait to be handled; try again in {RETRY_AFTER} s",
                headers={"Retry-After": str(RETRY_AFTER)},
            )
        self._waiting += 1
