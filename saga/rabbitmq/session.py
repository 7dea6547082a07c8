"""A short session with the broker, for tools: publish a message, listen to exchanges, browse a queue."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiormq
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from saga.messaging.message import Delivery, Message
from saga.messaging.users import user_of
from saga.rabbitmq import frames
from saga.rabbitmq.channel import Channel
from saga.rabbitmq.connection import connect, open_channel
from saga.rabbitmq.errors import ConnectionLost, Rejected, explain_rejection, translate_driver_errors
from saga.rabbitmq.publisher import ConfirmingPublisher, depths
from saga.rabbitmq.rpc import run_shielded

CONNECT_TIMEOUT = 10.0
POLLS, POLL_INTERVAL = 100, 0.02
"""How often, and how many seconds apart, a queue is asked for what was requeued."""

Arrival = tuple[bytes, datetime]
"""The body of a message, and when it arrived (UTC)."""


class QueueBrowser:
    """One queue, looked through, with `total` messages in it when it was opened.

    What was taken is out of others' sight until it is removed or requeued, which puts it back in its place.
    The broker requeues it too when the connection is lost.
    """

    def __init__(self, channel: Channel, queue: str, total: int) -> None:
        self._channel = channel
        self._queue = queue
        self.total = total
        self._unacknowledged = 0

    async def take(self) -> Delivery | None:
        """Return the next message; None if the queue is empty."""
        with translate_driver_errors():
            message = await run_shielded(self._channel.rpc.basic_get(self._queue))
        if isinstance(message.delivery, Basic.GetEmpty):
            return None
        self._unacknowledged += 1
        return _as_delivery(message)

    async def remove(self, delivery: Delivery) -> None:
        """Take a message out of the queue for good."""
        with translate_driver_errors():
            await run_shielded(self._channel.rpc.basic_ack(delivery.tag))
        self._unacknowledged -= 1

    async def requeue(self) -> None:
        """Requeue what was taken and not removed, and wait a little until all of it can be seen again.

        The next reader would otherwise miss it: the broker answers before the queue has it. Another reader
        may also have taken it already.
        """
        with translate_driver_errors():
            await run_shielded(self._channel.rpc.basic_nack(0, multiple=True, requeue=True))
            for _ in range(POLLS):
                if await _count(self._channel.rpc, self._queue) >= self._unacknowledged:
                    return
                await asyncio.sleep(POLL_INTERVAL)


class Session:
    """A connection with one channel, on which publishing is confirmed."""

    def __init__(
        self, connection: AbstractConnection, channel: Channel, publisher: ConfirmingPublisher
    ) -> None:
        self._connection = connection
        self._channel = channel
        self._publisher = publisher

    async def publish(self, message: Message) -> None:
        """Publish, and wait until the broker has accepted the message.

        Raises:
            Unavailable: it has not; the subclass says why.
        """
        await self._publisher.send([message])

    async def depths(self, queues: Sequence[str]) -> Mapping[str, int | None]:
        """Return how many messages wait in each queue; None where there is no such queue.

        Raises:
            Unavailable: the connection is lost.
        """
        with translate_driver_errors():
            return await run_shielded(depths(self._connection, queues))

    async def listen(self, exchanges: Iterable[str], patterns: Sequence[str]) -> AsyncIterator[Arrival]:
        """Return copies of the messages whose routing key matches one of the patterns, from now on.

        Raises:
            Unavailable: an exchange is missing, or the broker refuses; while iterating: the connection was
                lost.
        """
        arrivals: asyncio.Queue[Arrival | None] = asyncio.Queue()

        def arrived(delivery: Delivery) -> None:
            arrivals.put_nowait((delivery.body, datetime.now(UTC)))

        with translate_driver_errors():
            queue = str((await run_shielded(self._channel.rpc.queue_declare(exclusive=True))).queue)
            for exchange in exchanges:
                for pattern in patterns:
                    await run_shielded(self._channel.rpc.queue_bind(queue, exchange, pattern))
            await run_shielded(self._channel.consume(queue, arrived, no_ack=True))
        return self._until_lost(arrivals)

    async def _until_lost(self, arrivals: asyncio.Queue[Arrival | None]) -> AsyncIterator[Arrival]:
        lost = asyncio.ensure_future(self._publisher.lost())
        lost.add_done_callback(lambda _: arrivals.put_nowait(None))
        while arrival := await arrivals.get():
            yield arrival
        raise ConnectionLost("the connection to the broker was lost")

    @asynccontextmanager
    async def browse(self, queue: str) -> AsyncIterator[QueueBrowser]:
        """Look through a queue; at the end of the block, what was not removed is requeued.

        Raises:
            Unavailable: the queue is missing, or the connection was lost.
        """
        with translate_driver_errors():
            browser = QueueBrowser(self._channel, queue, await _count(self._channel.rpc, queue))
        try:
            yield browser
        finally:
            # A closed channel has requeued everything; what closed it is on its way to the caller.
            if not self._channel.closed:
                await browser.requeue()


@asynccontextmanager
async def open_session(url: str, name: str) -> AsyncIterator[Session]:
    """Connect for as long as the block lasts, under a name that the broker shows.

    Raises:
        Rejected: the broker does not let this user in.
        ConnectionLost: the broker cannot be reached, or the URL cannot be used.
    """
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            connection = await connect(url, name)
    except (*CONNECTION_EXCEPTIONS, ValueError, TimeoutError) as error:
        if explanation := explain_rejection(error):
            raise Rejected(explanation) from error
        raise ConnectionLost(str(error) or type(error).__name__) from error
    async with connection:
        channel = await open_channel(connection, confirms=True)
        yield Session(connection, channel, ConfirmingPublisher(connection, channel, [], user_of(url)))


async def _count(channel: aiormq.Channel, queue: str) -> int:
    return (await run_shielded(channel.queue_declare(queue, passive=True))).message_count or 0


def _as_delivery(message: DeliveredMessage) -> Delivery:
    properties = message.header.properties
    return frames.delivery(
        int(message.delivery_tag or 0),
        message.exchange or "",
        message.routing_key or "",
        {
            "message_id": properties.message_id,
            "correlation_id": properties.correlation_id,
            "type": properties.message_type,
            "app_id": properties.app_id,
            "timestamp": properties.timestamp,
            "headers": dict(properties.headers or {}),
            "user_id": properties.user_id,
        },
        message.body,
    )
