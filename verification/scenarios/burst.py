"""Many orders at once: placed together, and followed to their ends."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from time import monotonic

from rich.console import Console
from rich.progress import Progress

from operations.errors import CommandFailed
from operations.event_tap import LAST_EVENTS, Recorder, recording
from verification.scenarios.stories import ONE_OF_MANY, DemoRun

AT_ONCE = 32
"""HTTP requests under way at the same time."""


@dataclass(frozen=True, slots=True)
class LoadTest:
    """How many of the orders ended how, in how many seconds, which were refused and why, the others' ids."""

    orders: int
    ended: Counter[str]
    seconds: float
    refusals: list[str]
    order_ids: list[str]

    @property
    def name(self) -> str:
        return f"{self.orders} orders at once"

    @property
    def expected(self) -> str:
        """The expected end in words."""
        return f"{self.orders} {ONE_OF_MANY.status}"

    @property
    def actual(self) -> str:
        """The end in words."""
        return ", ".join(f"{count} {status}" for status, count in self.ended.items()) or "none was accepted"

    @property
    def problems(self) -> list[str]:
        """Return everything that is not as it should be, a line each."""
        told = [f"at once: {refusal}" for refusal in self.refusals]
        if self.ended[ONE_OF_MANY.status] != self.orders:
            told.append(f"at once: {self.orders} orders should be {ONE_OF_MANY.status}, but {self.actual}")
        return told

    @property
    def orders_per_second(self) -> float:
        return self.ended.total() / self.seconds


async def play_at_once(stage: DemoRun, count: int, console: Console) -> LoadTest:
    """Place many orders at once, show how many have ended, and return how."""
    gate = asyncio.Semaphore(AT_ONCE)
    async with recording(stage.endpoints.rabbitmq, *(f"{kind}.#" for kind in LAST_EVENTS)) as recorder:
        with Progress(console=console) as progress:
            ended = partial(progress.advance, progress.add_task(f"{count} orders at once", total=count))
            started = monotonic()
            placed = await asyncio.gather(*(_order(stage, gate, recorder, ended) for _ in range(count)))
            seconds = monotonic() - started
    order_ids = [one for one in placed if isinstance(one, str)]
    statuses = await _statuses(stage, gate, order_ids)
    refusals = [str(one) for one in placed if isinstance(one, CommandFailed)]
    return LoadTest(count, statuses, seconds, refusals, order_ids)


async def _order(
    stage: DemoRun, gate: asyncio.Semaphore, recorder: Recorder, ended: Callable[[], None]
) -> str | CommandFailed:
    """Place one order and wait for its last event; return its id, or why it was refused."""
    try:
        async with gate:
            order_id = await ONE_OF_MANY.start(stage, ONE_OF_MANY)
    except CommandFailed as refusal:
        return refusal
    await recorder.whole(order_id, stage.timeout)
    ended()
    return order_id


async def _statuses(stage: DemoRun, gate: asyncio.Semaphore, order_ids: Collection[str]) -> Counter[str]:
    async def status(order_id: str) -> str:
        async with gate:
            return str((await stage.services.order(order_id))["status"])

    return Counter(await asyncio.gather(*map(status, order_ids)))
