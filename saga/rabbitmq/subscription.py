"""The deliveries of one queue over one AMQP channel."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

import structlog
from pamqp.commands import Basic

from events.codec import MAX_BYTES
from saga import metrics
from saga.messaging.message import Delivery
from saga.rabbitmq import frames
from saga.rabbitmq.channel import Channel
from saga.rabbitmq.errors import CONNECTION_ERRORS
from saga.rabbitmq.rpc import run_shielded

log = structlog.get_logger()


class RabbitSubscription:
    """Takes deliveries from a queue, many at a time, and settles them in any order.

    As soon as its channel is lost it counts as closed, and settling does nothing: the broker redelivers all
    unacknowledged messages. A message longer than any event may be is rejected at once, so that the broker
    dead-letters it: a few hundred of them would exhaust the memory.
    """

    def __init__(self, channel: Channel, queue: str) -> None:
        self._channel = channel
        channel.rpc.on_consumer_cancel_callbacks.add(self._on_cancelled)
        self._queue = queue
        self._tag: str | None = None
        self._arrived: deque[Delivery] = deque()
        self._unacknowledged: dict[int, Delivery] = {}
        self._awake = asyncio.Event()
        """Set when something has arrived, or never will."""
        self._closing = False
        self._cancelled = asyncio.Event()

    @property
    def closed(self) -> bool:
        return self._closing or self._channel.closed

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
        lost = asyncio.ensure_future(self._channel.lost())
        try:
            await asyncio.wait([lost, cancelled], return_when=asyncio.FIRST_COMPLETED)
        finally:
            cancelled.cancel()
            lost.cancel()

    async def take(self, limit: int) -> list[Delivery]:
        while not self._arrived:
            if self._closing:
                return []
            self._awake.clear()
            await self._awake.wait()
        return [self._arrived.popleft() for _ in range(min(limit, len(self._arrived)))]

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge: one frame for all before the oldest unacknowledged one, and one for each other."""
        tags = sorted(delivery.tag for delivery in deliveries)
        for tag in tags:
            self._unacknowledged.pop(tag, None)
        oldest = next(iter(self._unacknowledged), None)
        early = [tag for tag in tags if oldest is None or tag < oldest]
        self._write(frames.acks(self._channel.number, early[-1] if early else None, tags[len(early) :]))

    async def requeue(self, deliveries: Sequence[Delivery]) -> None:
        tags = [delivery.tag for delivery in deliveries if self._unacknowledged.pop(delivery.tag, None)]
        self._write(frames.nacks(self._channel.number, tags, requeue=True))

    async def pause(self) -> None:
        if self._tag is not None:
            tag, self._tag = self._tag, None
            with suppress(*CONNECTION_ERRORS):
                await run_shielded(self._channel.rpc.basic_cancel(tag))
        await self.requeue(self._untaken())

    async def resume(self) -> None:
        if self.closed or self._tag is not None:
            return
        self._tag = await run_shielded(self._channel.consume(self._queue, self._on_delivery))

    async def close(self) -> None:
        """Stop deliveries for good; `take` returns nothing from now on."""
        self._closing = True
        await self.pause()
        self._awake.set()

    def _untaken(self) -> list[Delivery]:
        waiting = list(self._arrived)
        self._arrived.clear()
        return waiting

    async def _on_cancelled(self, _: Basic.Cancel) -> None:
        self._cancelled.set()

    def _on_delivery(self, delivery: Delivery) -> None:
        if len(delivery.body) > MAX_BYTES:
            self._reject(delivery)
            return
        self._unacknowledged[delivery.tag] = delivery
        self._arrived.append(delivery)
        self._awake.set()

    def _reject(self, delivery: Delivery) -> None:
        metrics.dead_letters(self._queue.partition(".")[0]).inc()
        log.error("dead_lettered", queue=self._queue, reason=f"longer than {MAX_BYTES} bytes")
        self._write(frames.nacks(self._channel.number, [delivery.tag], requeue=False))

    def _write(self, data: bytes) -> None:
        if not data:
            return
        with suppress(*CONNECTION_ERRORS):
            self._channel.write(data)
