"""Stops the calls to a provider that keeps failing, for a while."""

import random
from collections.abc import Callable

from payment_service.providers.base import ProviderDown
from saga.backoff import backoff, jittered

OPEN_AFTER = 3
"""Calls in a row without a decision after which the circuit opens."""
FIRST_OPEN, LONGEST_OPEN = 1.0, 30.0
"""Seconds that it stays open; twice as long after each further failure, up to the longest."""


class CircuitBreaker:
    """Open after some failures in a row, or at once where every call must fail; then the next call is a
    trial.

    `time` is in seconds, `dice` spreads the replicas' trials.
    """

    def __init__(self, time: Callable[[], float], dice: random.Random) -> None:
        self._time = time
        self._dice = dice
        self._failures = 0
        self._open_until = 0.0
        self._reason = ""

    def check(self) -> None:
        """Return if a call may be made.

        Raises:
            ProviderDown: the circuit is open.
        """
        if self._time() < self._open_until:
            raise ProviderDown(self._reason)

    def succeeded(self) -> None:
        """Count a call with a decision: the circuit is closed."""
        self._failures, self._open_until = 0, 0.0

    def failed(self, reason: str, *, at_once: bool) -> None:
        """Count a call without a decision; with `at_once`, open the circuit whatever went before."""
        self._failures += 1
        if at_once or self._failures >= OPEN_AFTER:
            seconds = backoff(FIRST_OPEN, self._failures - 1, LONGEST_OPEN)
            self.open(jittered(seconds, dice=self._dice), reason)

    def open(self, seconds: float, reason: str) -> None:
        """Reject all calls for `seconds`."""
        self._open_until, self._reason = self._time() + seconds, reason
