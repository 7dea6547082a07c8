"""Deferred results are settled together when they are ready together, and not held up by each other."""

import asyncio
from collections.abc import Sequence

from events.catalogue import ORDER, Event, InventoryReleased, PaymentCompleted
from events.encoded import EncodedEvent
from operations.registry import TOPOLOGIES
from saga.errors import Unavailable
from saga.messaging.consumer import BatchConsumer
from saga.messaging.message import Delivery, Message, to_message
from saga.messaging.results import Deferred, Handled, Result, Retry
from tests.support.broker import until
from tests.support.builders import event

ORDERS = TOPOLOGIES[ORDER]


class Deliveries:
    """A subscription that gives out one batch, and ends when it is closed."""

    def __init__(self, count: int) -> None:
        self._batch = [_delivery(number) for number in range(count)]
        self._end = asyncio.Event()
        self.acks: list[list[int]] = []

    @property
    def closed(self) -> bool:
        return self._end.is_set()

    @property
    def unacknowledged(self) -> Sequence[Delivery]:
        return []

    async def take(self, limit: int) -> list[Delivery]:
        if not self._batch:
            await self._end.wait()
        batch, self._batch = self._batch, []
        return batch

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            self.acks.append([delivery.tag for delivery in deliveries])

    async def requeue(self, deliveries: Sequence[Delivery]) -> None:
        raise AssertionError("nothing is to be requeued")

    async def pause(self) -> None:
        raise AssertionError("reading is not to pause")

    async def resume(self) -> None:
        """It delivers from the start."""

    def close(self) -> None:
        self._end.set()


class Publishing:
    """A publisher that refuses chosen messages."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.refused: set[str] = set()

    async def send(self, messages: Sequence[Message]) -> None:
        ids = [str(message.message_id) for message in messages]
        if refused := self.refused.intersection(ids):
            raise Unavailable(f"no queue takes {refused}")
        if ids:
            self.sent.append(ids)

    async def check(self) -> None:
        """It can always be tried again."""


def _delivery(number: int) -> Delivery:
    message = to_message(EncodedEvent.of(event(InventoryReleased, f"e-{number}", order_id=f"o-{number}")))
    return Delivery(number, message.exchange, message.routing_key, message.body)


def answer(number: int) -> Handled:
    return Handled([EncodedEvent.of(event(PaymentCompleted, f"answer-{number}", order_id=f"o-{number}"))])


class Reading:
    """A consumer whose results are all deferred, reading one batch."""

    def __init__(self, count: int) -> None:
        self.results: list[asyncio.Future[Handled | Retry]] = [asyncio.Future() for _ in range(count)]
        self.deliveries = Deliveries(count)
        self.publishing = Publishing()
        self.handling = False
        self.consumer = BatchConsumer(ORDERS, self._handle, self._available)
        self.task = asyncio.create_task(self.consumer.run(self.deliveries, self.publishing))

    async def begin(self) -> None:
        """Return once the batch is being handled."""
        await until(lambda: self.handling, "the batch is handled")
        self.handling = False

    async def end(self) -> None:
        """Close the subscription, and wait for what is deferred."""
        self.deliveries.close()
        await self.task

    async def _handle(self, events: Sequence[Event]) -> list[Result]:
        self.handling = True
        return [Deferred(result) for result in self.results]

    async def _available(self) -> None:
        """It can always work."""


async def test_results_ready_together_are_settled_together() -> None:
    reading = Reading(5)
    await reading.begin()
    for number in (3, 1, 4):
        reading.results[number].set_result(answer(number))
    await until(lambda: bool(reading.deliveries.acks), "the first are acknowledged")
    for number in (0, 2):
        reading.results[number].set_result(answer(number))
    await reading.end()
    assert [sorted(batch) for batch in reading.publishing.sent] == [
        ["answer-1", "answer-3", "answer-4"],
        ["answer-0", "answer-2"],
    ]
    assert [sorted(tags) for tags in reading.deliveries.acks] == [[1, 3, 4], [0, 2]]


async def test_a_message_in_trouble_waits_alone() -> None:
    reading = Reading(3)
    await reading.begin()
    reading.publishing.refused.add("answer-1")
    for number, result in enumerate(reading.results):
        result.set_result(answer(number))
    await until(lambda: len(reading.deliveries.acks) == 2, "the others are acknowledged")
    assert sorted(reading.deliveries.acks) == [[0], [2]]
    reading.publishing.refused.clear()
    await until(lambda: len(reading.deliveries.acks) == 3, "that one is acknowledged")
    await reading.end()
    assert sorted(reading.publishing.sent) == [["answer-0"], ["answer-1"], ["answer-2"]]


async def test_abandoned_results_do_not_hold_up_later_ones() -> None:
    reading = Reading(2)
    await reading.begin()
    reading.results[0].set_result(answer(0))
    await asyncio.sleep(0)
    await reading.consumer.abandon()
    reading.task.cancel()
    await asyncio.wait([reading.task])
    assert not reading.deliveries.acks
    reading.deliveries, reading.results = Deliveries(1), [asyncio.Future()]
    reading.task = asyncio.create_task(reading.consumer.run(reading.deliveries, reading.publishing))
    await reading.begin()
    reading.results[0].set_result(answer(7))
    await reading.end()
    assert reading.publishing.sent == [["answer-7"]]
