"""Three ways to place orders: one after the other, as many as possible, and at a fixed rate."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from benchmarks.stamps import Stamps
from operations.errors import CommandFailed

IN_FLIGHT = 50
"""Orders of a burst that are being submitted at once."""
STALLED_AFTER = 60.0
"""Seconds without an end after which a phase fails."""
POLL_INTERVAL = 0.005
KEPT_UP, GRACE = 0.95, 0.5
"""A system keeps up with a rate if this share of the orders ends within so many seconds of the last."""

Submit = Callable[[int], Coroutine[Any, Any, None]]
"""Places the order of a number; returns once it is durably accepted."""
Ended = Callable[[int], None]
"""Is called with how many orders have ended since the last call."""


@dataclass(frozen=True, slots=True)
class Times:
    """When each order was due, and when it had ended; seconds of one clock."""

    due: Sequence[float]
    ended: Sequence[float]

    @property
    def latencies(self) -> list[float]:
        """Seconds from the scheduled time to the end, ascending."""
        return sorted(end - due for due, end in zip(self.due, self.ended, strict=True))

    @property
    def per_second(self) -> float:
        """Orders a second, from the first one due to the last end."""
        return len(self.due) / (max(self.ended) - min(self.due))

    @property
    def kept_up(self) -> bool:
        """Whether the orders ended about as fast as they were due."""
        limit = max(self.due) + GRACE
        return sum(end <= limit for end in self.ended) >= KEPT_UP * len(self.ended)

    def percentile(self, share: float) -> float:
        """Return the latency that this share of the orders did not exceed."""
        latencies = self.latencies
        return latencies[min(len(latencies) - 1, int(share * len(latencies)))]


async def one_by_one(submit: Submit, stamps: Stamps, numbers: Sequence[int], ended: Ended) -> Times:
    """Place each order when the one before has ended."""
    due = []
    for number in numbers:
        due.append(monotonic())
        await submit(number)
        await _all_ended(stamps, [number], ended)
    return Times(due, stamps.all_ended(numbers))


async def burst(submit: Submit, stamps: Stamps, numbers: Sequence[int], ended: Ended) -> Times:
    """Place the orders as fast as they are accepted, `IN_FLIGHT` at once."""
    left = iter(numbers)
    due: dict[int, float] = {}

    async def client() -> None:
        for number in left:
            due[number] = monotonic()
            await submit(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(client())
        group.create_task(_all_ended(stamps, numbers, ended))
    return Times([due[number] for number in numbers], stamps.all_ended(numbers))


async def at_rate(submit: Submit, stamps: Stamps, numbers: Sequence[int], rate: float, ended: Ended) -> Times:
    """Place the orders at their scheduled times, `rate` a second, no matter how the earlier ones fare.

    Latency counts from the scheduled time, also for an order that could only be submitted later: otherwise a
    system that stalls would hide the orders that had to wait for it (coordinated omission).
    """
    started = monotonic()
    due = [started + position / rate for position in range(len(numbers))]
    async with asyncio.TaskGroup() as group:
        group.create_task(_all_ended(stamps, numbers, ended))
        for number, at in zip(numbers, due, strict=True):
            await asyncio.sleep(at - monotonic())
            group.create_task(submit(number))
    return Times(due, stamps.all_ended(numbers))


async def _all_ended(stamps: Stamps, numbers: Sequence[int], ended: Ended) -> None:
    """Wait until all have ended.

    Raises:
        CommandFailed: none has ended for `STALLED_AFTER` seconds.
    """
    open_numbers = list(numbers)
    last = monotonic()
    while True:
        still = [number for number in open_numbers if not stamps.ended(number)]
        if len(still) < len(open_numbers):
            ended(len(open_numbers) - len(still))
            last = monotonic()
        if not still:
            return
        if monotonic() - last > STALLED_AFTER:
            raise CommandFailed(
                f"{len(still)} of {len(numbers)} orders have not ended, none for {STALLED_AFTER:g} s"
            )
        open_numbers = still
        await asyncio.sleep(POLL_INTERVAL)
