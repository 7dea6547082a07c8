"""How many requests each caller may send."""

from collections.abc import Callable
from math import ceil
from time import monotonic

from fastapi import Request

from saga.http.auth import Caller
from saga.http.problems import Problem
from saga.http.security import caller_of


class RateLimit:
    """A token bucket for each caller of this process: `rate` requests a second, up to `burst` at once.

    A dependency of a route: beyond the limit, it answers 429 with the seconds to wait.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._left: dict[Caller, tuple[float, float]] = {}
        """How many requests each caller had left, and when; there are no more callers than tokens."""

    async def __call__(self, request: Request) -> None:
        """Let the request pass.

        Raises:
            Problem: 429, the caller has sent too many.
        """
        if seconds := self.take(caller_of(request)):
            raise Problem(
                429,
                f"more than {self._rate:g} requests a second; try again in {seconds} s",
                headers={"Retry-After": str(seconds)},
            )

    def take(self, caller: Caller) -> int:
        """Take one request from the bucket; return 0, or the whole seconds until there is one."""
        now = self._clock()
        left, at = self._left.get(caller, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        taken = left >= 1
        self._left[caller] = (left - taken, now)
        return 0 if taken else ceil((1 - left) / self._rate)
