"""How often each caller may do something."""

from collections.abc import Callable
from math import ceil
from time import monotonic

from fastapi import Request

from saga.http.app import Problem, caller_of
from saga.http.auth import Caller


class RateLimit:
    """So many requests a second for each caller of one process, and up to `burst` at once after a silence.

    A dependency of a route: who is too fast is told by 429 when to come again.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._left: dict[Caller, tuple[float, float]] = {}
        """For each caller how many requests were left, and when that was; there are as many as tokens."""

    async def __call__(self, request: Request) -> None:
        """Let the request pass.

        Raises:
            Problem: its caller is too fast.
        """
        if seconds := self.take(caller_of(request)):
            raise Problem(
                429,
                f"more than {self._rate:g} requests a second; come again in {seconds} s",
                headers={"Retry-After": str(seconds)},
            )

    def take(self, caller: Caller) -> int:
        """Take one request; return 0, or the whole seconds until there is one again."""
        now = self._clock()
        left, at = self._left.get(caller, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        taken = left >= 1
        self._left[caller] = (left - taken, now)
        return 0 if taken else ceil((1 - left) / self._rate)
