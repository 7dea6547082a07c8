"""A passive tap on the services' exchanges: it receives copies of the events."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from events.catalogue import SERVICES, Event
from events.codec import InvalidEvent, decode
from events.identity import with_defaults
from operations.broker_session import broker_session
from saga.messaging.topology import exchange_of
from saga.rabbitmq.session import Arrival

LAST_EVENTS = frozenset({"OrderCreated", "OrderFailed"})
"""The events that end a saga."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An event, and when the tap saw it (UTC)."""

    event: Event
    seen_at: datetime


@asynccontextmanager
async def tap(amqp_url: str, *patterns: str) -> AsyncIterator[AsyncIterator[Seen]]:
    """Listen to the events whose routing key matches one of the patterns (`#`: all), from now on.

    Raises:
        CommandFailed: the broker or an exchange is missing; while iterating: the connection was lost.
    """
    async with broker_session(amqp_url) as session:
        yield _events(await session.listen(map(exchange_of, SERVICES), patterns))


async def _events(arrivals: AsyncIterator[Arrival]) -> AsyncIterator[Seen]:
    async for body, seen_at in arrivals:
        try:
            event = with_defaults(decode(body), seen_at)
        except InvalidEvent:
            continue  # The services dead-letter it, with the reason.
        yield Seen(event, seen_at)


class Recorder:
    """Keeps what a tap sees, by order."""

    def __init__(self) -> None:
        self._seen: defaultdict[str, list[Seen]] = defaultdict(list)
        self._ended: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def record(self, events: AsyncIterator[Seen]) -> None:
        """Keep every event; runs until it is cancelled."""
        async for seen in events:
            self._seen[seen.event.order_id].append(seen)
            if seen.event.type in LAST_EVENTS:
                self._ended[seen.event.order_id].set()

    async def whole(self, order_id: str, within: float) -> list[Seen]:
        """Return what was seen of an order, after its last event or after `within` seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended[order_id].wait(), within)
        return self._seen[order_id]


@asynccontextmanager
async def recording(amqp_url: str, *patterns: str) -> AsyncIterator[Recorder]:
    """Record the events whose routing key matches, from now until the block ends."""
    recorder = Recorder()
    async with tap(amqp_url, *patterns) as events:
        task = asyncio.create_task(recorder.record(events))
        try:
            yield recorder
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
