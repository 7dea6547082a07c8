"""The deliveries of one queue over one AMQP channel."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Any

import aiormq
import structlog
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from events.codec import MAX_BYTES
from saga import metrics
from saga.messaging.message import Delivery
from saga.rabbitmq.errors import CONNECTION_ERRORS
from saga.rabbitmq.rpc import run_shielded

log = structlog.get_logger()


class RabbitSubscription:
    """Takes deliveries from a queue, many at a time, and settles them in any order.

    As soon as its channel is lost it counts as closed, and settling does nothing: the broker redelivers all
    unacknowledged messages. A message longer than any event may be is rejected at once, so that the broker
    dead-letters it: a few hundred of them would exhaust the memory.
    """

    def __init__(self, channel: aiormq.Channel, lost: Awaitable[object], queue: str) -> None:
        self._channel = channel
        self._lost = lost
        channel.on_consumer_cancel_callbacks.add(self._on_cancelled)
        self._queue = queue
        self._tag: str | None = None
        self._arrived: asyncio.Queue[Delivery | None] = asyncio.Queue()
        self._unacknowledged: dict[int, Delivery] = {}
        self._settling = asyncio.Lock()
        """Locked until the frames are in the write queue. One frame may acknowledge many messages: none of
        them may still have a frame of its own that waits for room in the queue."""
        self._closing = False
        self._cancelled = asyncio.Event()

    @property
    def closed(self) -> bool:
        return self._closing or self._channel.is_closed

    @property
    def unacknowledged(self) -> Sequence[Delivery]:
        return list(self._unacknowledged.values())

    @property
    def consuming(self) -> bool:
        """True while the broker delivers."""
        return self._tag is not None and not self.closed

    async def lost(self) -> None:
        """Wait until the channel is lost or the broker cancels the consumer."""
        cancelled = asyncio.ensure_future(self._cancelled.wait())
        try:
            await asyncio.wait(
                [asyncio.ensure_future(self._lost), cancelled], return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            cancelled.cancel()

    async def take(self, limit: int) -> list[Delivery]:
        if self._closing and self._arrived.empty():
            return []
        taken: list[Delivery] = []
        first = await self._arrived.get()
        while first is not None:
            taken.append(first)
            if len(taken) >= limit or self._arrived.empty():
                return taken
            first = self._arrived.get_nowait()
        self._arrived.put_nowait(None)
        return taken

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge: one frame for all before the oldest unacknowledged one, and one for each other."""
        tags = sorted(delivery.tag for delivery in deliveries)
        async with self._settling:
            for tag in tags:
                self._unacknowledged.pop(tag, None)
            oldest = next(iter(self._unacknowledged), None)
            up_to_oldest = [tag for tag in tags if oldest is None or tag < oldest]
            await self._acknowledge(up_to_oldest, tags[len(up_to_oldest) :])

    async def _acknowledge(self, up_to_oldest: Sequence[int], single: Sequence[int]) -> None:
        with suppress(*CONNECTION_ERRORS):
            if up_to_oldest:
                await self._channel.basic_ack(up_to_oldest[-1], multiple=True, wait=False)
            for tag in single:
                await self._channel.basic_ack(tag, wait=False)

    async def requeue(self, deliveries: Sequence[Delivery]) -> None:
        async with self._settling:
            with suppress(*CONNECTION_ERRORS):
                for delivery in deliveries:
                    if self._unacknowledged.pop(delivery.tag, None):
                        await self._channel.basic_nack(delivery.tag, requeue=True, wait=False)

    async def pause(self) -> None:
        if self._tag is not None:
            tag, self._tag = self._tag, None
            with suppress(*CONNECTION_ERRORS):
                await run_shielded(self._channel.basic_cancel(tag))
        await self.requeue(self._untaken())

    async def resume(self) -> None:
        if self.closed or self._tag is not None:
            return
        consuming = self._channel.basic_consume(self._queue, self._on_delivery)
        ok = await run_shielded(consuming)
        self._tag = ok.consumer_tag

    async def close(self) -> None:
        """Stop deliveries for good; `take` returns nothing from now on."""
        self._closing = True
        await self.pause()
        self._arrived.put_nowait(None)

    def _untaken(self) -> list[Delivery]:
        waiting: list[Delivery] = []
        while not self._arrived.empty():
            if delivery := self._arrived.get_nowait():
                waiting.append(delivery)
        return waiting

    async def _on_cancelled(self, _: Basic.Cancel) -> None:
        self._cancelled.set()

    async def _on_delivery(self, message: DeliveredMessage) -> None:
        delivery = as_delivery(message)
        self._unacknowledged[delivery.tag] = delivery
        if len(delivery.body) > MAX_BYTES:
            await self._reject(delivery)
        else:
            self._arrived.put_nowait(delivery)

    async def _reject(self, delivery: Delivery) -> None:
        service = self._queue.partition(".")[0]
        metrics.dead_letters(service).inc()
        log.error("dead_lettered", queue=self._queue, reason=f"longer than {MAX_BYTES} bytes")
        async with self._settling:
            self._unacknowledged.pop(delivery.tag, None)
            with suppress(*CONNECTION_ERRORS):
                await self._channel.basic_nack(delivery.tag, requeue=False, wait=False)


def as_delivery(message: DeliveredMessage) -> Delivery:
    """Return an AMQP delivery as the rest of the system knows it."""
    properties = message.header.properties
    headers: dict[str, Any] = dict(properties.headers or {})
    redeliveries = headers.get("x-delivery-count", 0)
    return Delivery(
        tag=int(message.delivery_tag or 0),
        exchange=message.exchange or "",
        routing_key=message.routing_key or "",
        body=message.body,
        message_id=properties.message_id,
        correlation_id=properties.correlation_id,
        type=properties.message_type,
        app_id=properties.app_id,
        timestamp=properties.timestamp,
        headers=headers,
        redeliveries=redeliveries if isinstance(redeliveries, int) else 0,
        user_id=properties.user_id,
    )
