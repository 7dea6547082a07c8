"""Many orders at once: placed together, and followed to their ends."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal
from time import monotonic

from operations.errors import CommandFailed
from operations.event_tap import LAST_EVENTS, Recorder, recording
from operations.sample_stock import InitialLevel
from verification.scenarios.scenario import ScenarioRun

CONCURRENT_REQUESTS = 32
PRODUCT = "coffee"
TOTAL = Decimal("3.20")
WAREHOUSES = ("berlin", "amsterdam")


@dataclass(frozen=True, slots=True)
class LoadTest:
    """How many of the orders ended how, in how many seconds, the orders' ids, and what went wrong."""

    orders: int
    ended: Counter[str]
    seconds: float
    order_ids: list[str]
    problems: list[str]

    @property
    def name(self) -> str:
        return f"{self.orders} orders at once"

    @property
    def expected(self) -> str:
        """The expected end in words."""
        return f"{self.orders} confirmed"

    @property
    def actual(self) -> str:
        """The end in words."""
        return ", ".join(f"{count} {status}" for status, count in self.ended.items()) or "none was accepted"

    @property
    def orders_per_second(self) -> float:
        return self.ended.total() / self.seconds


def stock_for(run: ScenarioRun, count: int) -> list[InitialLevel]:
    """Return stock for twice as many orders of one unit each."""
    return [(warehouse, run.product(PRODUCT), count) for warehouse in WAREHOUSES]


async def play_at_once(run: ScenarioRun, count: int, ended: Callable[[], None]) -> LoadTest:
    """Place many orders of one unit at once, call `ended` as each ends, and check all of them."""
    gate = asyncio.Semaphore(CONCURRENT_REQUESTS)
    async with recording(run.endpoints.rabbitmq, *(f"{kind}.#" for kind in LAST_EVENTS)) as recorder:
        started = monotonic()
        placed = await asyncio.gather(*(_order(run, gate, recorder, ended) for _ in range(count)))
        seconds = monotonic() - started
    order_ids = [one for one in placed if isinstance(one, str)]
    statuses = await _statuses(run, gate, order_ids)
    rejections = [f"at once: {one}" for one in placed if isinstance(one, CommandFailed)]
    problems = [*rejections, *await _stock_problems(run, count, statuses["confirmed"])]
    if statuses["confirmed"] != count:
        problems.append(f"at once: {count} orders should be confirmed, but {dict(statuses)}")
    return LoadTest(count, statuses, seconds, order_ids, problems)


async def _order(
    run: ScenarioRun, gate: asyncio.Semaphore, recorder: Recorder, ended: Callable[[], None]
) -> str | CommandFailed:
    """Place one order and wait for its last event; return its id, or why it was rejected."""
    try:
        async with gate:
            order = await run.services.place(run.order(PRODUCT, 1, TOTAL))
    except CommandFailed as rejection:
        return rejection
    order_id = str(order["orderId"])
    await recorder.whole(order_id, run.timeout)
    ended()
    return order_id


async def _statuses(run: ScenarioRun, gate: asyncio.Semaphore, order_ids: Collection[str]) -> Counter[str]:
    async def status(order_id: str) -> str:
        async with gate:
            return str((await run.services.order(order_id))["status"])

    return Counter(await asyncio.gather(*map(status, order_ids)))


async def _stock_problems(run: ScenarioRun, count: int, confirmed: int) -> list[str]:
    levels = await run.services.stock(run.product(PRODUCT))
    units = {name: sum(level[name] for level in levels) for name in ("available", "reserved", "allocated")}
    stocked = count * len(WAREHOUSES)
    expected = {"available": stocked - confirmed, "reserved": 0, "allocated": confirmed}
    return [] if units == expected else [f"at once: the stock is {units} instead of {expected}"]
