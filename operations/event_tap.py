"""A passive tap on the services' exchanges: it sees copies of the events and takes nothing away."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelClosed, ChannelNotFoundEntity

from events.catalogue import SERVICES, Event
from events.codec import InvalidEvent, decode
from events.identity import with_defaults
from operations.client import unreachable
from operations.errors import CommandFailed
from saga.messaging.topology import exchange_of
from saga.rabbitmq import tolerant_decoding as lenient
from saga.rabbitmq.connection import connect
from saga.rabbitmq.rpc import explain_rejection

lenient.install()

CONNECT_SECONDS = 10.0
CONNECTION_NAME = "saga command line"
"""What the broker shows of a command's connection."""
LAST_EVENTS = frozenset({"OrderCreated", "OrderFailed"})
"""The events that end a saga."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An event, and when the tap saw it (UTC)."""

    event: Event
    seen_at: datetime


@asynccontextmanager
async def connected(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    """Open a channel that confirms what is published; the connection closes with the block.

    Raises:
        CommandFailed: the broker cannot be reached, or does not let us in.
    """
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            connection = await connect(amqp_url, CONNECTION_NAME)
    except (*CONNECTION_EXCEPTIONS, ValueError, TimeoutError) as error:
        told = explain_rejection(error) or unreachable(_without_password(amqp_url), error)
        raise CommandFailed(told) from None
    async with connection:
        yield await connection.channel(on_return_raises=True)


@asynccontextmanager
async def tap(amqp_url: str, *patterns: str) -> AsyncIterator[AsyncIterator[Seen]]:
    """Listen to the events whose routing key matches one of the patterns (`#`: all), from now on.

    Raises:
        CommandFailed: the broker or an exchange is missing; while iterating: the connection was lost.
    """
    arrivals: asyncio.Queue[tuple[bytes, datetime] | None] = asyncio.Queue()

    async def arrived(message: AbstractIncomingMessage) -> None:
        arrivals.put_nowait((message.body, datetime.now(UTC)))

    async with connected(amqp_url) as channel:
        channel.close_callbacks.add(lambda *_: arrivals.put_nowait(None))
        try:
            queue = await channel.declare_queue(exclusive=True, auto_delete=True)
            for exchange in map(exchange_of, SERVICES):
                for pattern in patterns:
                    await queue.bind(exchange, pattern)
        except ChannelNotFoundEntity:
            raise CommandFailed(missing_exchange(exchange)) from None
        except ChannelClosed as error:
            raise CommandFailed(explain_rejection(error) or f"the broker says {error}") from None
        await queue.consume(arrived, no_ack=True)
        yield _events(arrivals)


def missing_exchange(name: str) -> str:
    """Say that an exchange is missing, and what to do."""
    return f"the broker has no exchange {name}: is the stack up? its service declares it, see `saga up`"


async def _events(arrivals: asyncio.Queue[tuple[bytes, datetime] | None]) -> AsyncIterator[Seen]:
    while (arrival := await arrivals.get()) is not None:
        body, seen_at = arrival
        try:
            event = with_defaults(decode(body), seen_at)
        except InvalidEvent:
            continue  # Not ours to judge: the services dead-letter it, with the reason.
        yield Seen(event, seen_at)
    raise CommandFailed("the connection to the broker was lost while listening")


def _without_password(amqp_url: str) -> str:
    parts = urlsplit(amqp_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


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
