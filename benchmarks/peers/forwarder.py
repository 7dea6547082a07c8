"""The least that three services can do: `python -m benchmarks.peers.forwarder inventory_service`.

Six events are forwarded, bodies of 300 bytes that are never parsed, with aio-pika: persistent, confirmed,
acknowledged a batch at a time. The fewest writes go to the database, in bulk a batch. It is no saga: nothing
is handled once only, nothing is compensated, and a crash loses or doubles what it meets.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from pymongo import InsertOne, UpdateOne
from pymongo.asynchronous.database import AsyncDatabase

from benchmarks.peers import documents, surroundings
from benchmarks.stamps import Stamps
from benchmarks.workload import Order, order
from events.catalogue import INVENTORY, ORDER, PAYMENT

BATCH = 100
PREFETCH = 200
BODY = b"{" + b" " * 298 + b"}"

Writes = dict[str, list[documents.Write]]
"""By collection."""


def reserve(orders: Sequence[Order]) -> Writes:
    """Take the stock of these orders."""
    return {
        "stock": [UpdateOne(*documents.take(line)) for one in orders for line in one.lines],
        "reservations": [InsertOne(documents.new_reservation(one)) for one in orders],
    }


def charge(orders: Sequence[Order]) -> Writes:
    """Store the payments of these orders."""
    return {"payments": [InsertOne(documents.new_payment(one)) for one in orders]}


def settle(orders: Sequence[Order]) -> Writes:
    """Allocate or release the stock of these orders."""
    writes: Writes = {"stock": [], "reservations": []}
    for one in orders:
        writes["stock"] += documents.settle(one.lines, "available" if one.declined else "allocated")
        ended = "released" if one.declined else "allocated"
        writes["reservations"].append(documents.status(one.order_id, ended))
    return writes


def end(orders: Sequence[Order]) -> Writes:
    """Store how these orders have ended."""
    return {
        "orders": [
            documents.status(one.order_id, "failed" if one.declined else "confirmed") for one in orders
        ]
    }


def nothing(orders: Sequence[Order]) -> Writes:
    """Write nothing."""
    return {}


@dataclass(frozen=True, slots=True)
class Step:
    """An event, who consumes it, what is written then, and the event that follows."""

    event: str
    service: str
    writes: Callable[[Sequence[Order]], Writes]
    following: str | None


STEPS = (
    Step("InventoryReservationRequested", INVENTORY, reserve, "InventoryReserved"),
    Step("InventoryReserved", ORDER, nothing, "PaymentRequested"),
    Step("PaymentRequested", PAYMENT, charge, "PaymentCompleted"),
    Step("PaymentCompleted", ORDER, nothing, "InventoryConfirmationRequested"),
    Step("InventoryConfirmationRequested", INVENTORY, settle, "InventoryConfirmed"),
    Step("InventoryConfirmed", ORDER, end, None),
)
QUEUES = [step.event for step in STEPS]


class Client:
    """Places orders: those that wait at one moment are inserted in one bulk write, then published."""

    def __init__(self, channel: AbstractChannel, database: AsyncDatabase[Any]) -> None:
        self._channel = channel
        self._orders = database["orders"]
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def submit(self, number: int) -> None:
        """Return once the order is stored, and its first event confirmed."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((number, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._flush())
        await done

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            try:
                new = [InsertOne(documents.new_order(order(number))) for number, _ in batch]
                await self._orders.bulk_write(new, ordered=False)
                await asyncio.gather(
                    *(_publish(self._channel, BODY, str(number), QUEUES[0]) for number, _ in batch)
                )
            except Exception as error:
                for _, done in batch:
                    done.set_exception(error)
            else:
                for _, done in batch:
                    done.set_result(None)


async def main(service: str) -> None:
    """Forward the events of one service until the process is stopped."""
    database, stamps = surroundings.own_database(), surroundings.stamps()
    connection = await aio_pika.connect_robust(surroundings.broker_url())
    async with connection, asyncio.TaskGroup() as group:
        for step in STEPS:
            if step.service == service:
                arrivals: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
                channel = await connection.channel(publisher_confirms=True)
                await channel.set_qos(prefetch_count=PREFETCH)
                queue = await channel.get_queue(step.event, ensure=False)
                await queue.consume(arrivals.put)
                group.create_task(_forward(step, arrivals, channel, database, stamps))
        surroundings.say_ready()


async def _forward(
    step: Step,
    arrivals: asyncio.Queue[AbstractIncomingMessage],
    channel: AbstractChannel,
    database: AsyncDatabase[Any],
    stamps: Stamps,
) -> None:
    while True:
        batch = [await arrivals.get()]
        while len(batch) < BATCH and not arrivals.empty():
            batch.append(arrivals.get_nowait())
        numbers = [int(message.message_id or "") for message in batch]
        for collection, writes in step.writes([order(number) for number in numbers]).items():
            await database[collection].bulk_write(writes, ordered=False)
        if step.following is None:
            for number in numbers:
                stamps.end(number)
        else:
            await asyncio.gather(
                *(
                    _publish(channel, message.body, message.message_id or "", step.following)
                    for message in batch
                )
            )
        await batch[-1].ack(multiple=True)


async def _publish(channel: AbstractChannel, body: bytes, message_id: str, queue: str) -> None:
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, message_id=message_id)
    await channel.default_exchange.publish(message, routing_key=queue)


if __name__ == "__main__":
    surroundings.run(main(surroundings.check_service(sys.argv[1], {step.service: step for step in STEPS})))
