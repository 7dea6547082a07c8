"""The saga as FastStream's documentation teaches: `python -m benchmarks.peers.faststream_saga order_service`.

A pure choreography of four messages: the payment follows from `InventoryReserved`, the allocation from
`PaymentCompleted`. One durable queue an event, pydantic models, persistent and confirmed messages, each step
"write, then publish". It is naive: no outbox, no inbox, so a crash between the two loses or doubles a step.
"""

import sys
from collections.abc import Callable
from typing import Any

from faststream import FastStream
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue
from pydantic import BaseModel
from pymongo.asynchronous.database import AsyncDatabase

from benchmarks.peers import documents, surroundings
from benchmarks.stamps import Stamps
from benchmarks.workload import Line, Order, number_of, order
from events.catalogue import INVENTORY, ORDER, PAYMENT

PREFETCH = 100


class Item(BaseModel):
    """A line of an order."""

    product_id: str
    warehouse_id: str
    quantity: int


class SagaEvent(BaseModel):
    """What every service needs of an order."""

    order_id: str
    user_id: str
    total_amount: str
    items: list[Item]

    @property
    def lines(self) -> list[Line]:
        """Its lines as the stock knows them."""
        return [Line(item.warehouse_id, item.product_id, item.quantity) for item in self.items]


class InventoryReservationRequested(SagaEvent):
    """Stock is to be reserved."""


class InventoryReserved(SagaEvent):
    """All lines are reserved."""


class PaymentCompleted(SagaEvent):
    """The order is paid."""


class PaymentFailed(SagaEvent):
    """The payment was declined."""


class InventoryConfirmed(SagaEvent):
    """The stock is allocated."""


class InventoryReleased(SagaEvent):
    """The stock is available again."""


QUEUES = [kind.__name__ for kind in SagaEvent.__subclasses__()]


class Client:
    """Places orders: stores each, then publishes its first event."""

    def __init__(self, broker: RabbitBroker, database: AsyncDatabase[Any]) -> None:
        self._broker = broker
        self._orders = database["orders"]

    async def submit(self, number: int) -> None:
        """Return once the order is stored, and its first event confirmed."""
        placed = order(number)
        await self._orders.insert_one(documents.new_order(placed))
        await _publish(self._broker, _request(placed))


class Service:
    """The handlers of the three services."""

    def __init__(self, broker: RabbitBroker, database: AsyncDatabase[Any], stamps: Stamps) -> None:
        self._broker = broker
        self._database = database
        self._stamps = stamps

    def subscribe(self, name: str) -> None:
        """Register the handlers of one service."""
        HANDLERS[name](self)

    def subscribe_inventory(self) -> None:
        self._broker.subscriber(_queue(InventoryReservationRequested))(self.reserve)
        self._broker.subscriber(_queue(PaymentCompleted))(self.allocate)
        self._broker.subscriber(_queue(PaymentFailed))(self.release)

    def subscribe_payments(self) -> None:
        self._broker.subscriber(_queue(InventoryReserved))(self.charge)

    def subscribe_orders(self) -> None:
        self._broker.subscriber(_queue(InventoryConfirmed))(self.confirm)
        self._broker.subscriber(_queue(InventoryReleased))(self.fail)

    async def reserve(self, event: InventoryReservationRequested) -> None:
        """Take the stock of every line."""
        for line in event.lines:
            done = await self._database["stock"].update_one(*documents.take(line))
            if not done.modified_count:
                raise RuntimeError(f"{line.place} is sold out, which no order of the workload expects")
        await self._database["reservations"].insert_one(
            documents.new_reservation(order(number_of(event.order_id)))
        )
        await self._publish(InventoryReserved, event)

    async def charge(self, event: InventoryReserved) -> None:
        """Charge, or decline."""
        payment = documents.new_payment(order(number_of(event.order_id)))
        await self._database["payments"].insert_one(payment)
        await self._publish(PaymentCompleted if payment["status"] == "charged" else PaymentFailed, event)

    async def allocate(self, event: PaymentCompleted) -> None:
        """Allocate what was reserved."""
        await self._settle(event, "allocated", "allocated")
        await self._publish(InventoryConfirmed, event)

    async def release(self, event: PaymentFailed) -> None:
        """Give back what was reserved."""
        await self._settle(event, "available", "released")
        await self._publish(InventoryReleased, event)

    async def confirm(self, event: InventoryConfirmed) -> None:
        """End the order."""
        await self._end(event, "confirmed")

    async def fail(self, event: InventoryReleased) -> None:
        """End the order."""
        await self._end(event, "failed")

    async def _settle(self, event: SagaEvent, to: str, status: str) -> None:
        await self._database["stock"].bulk_write(documents.settle(event.lines, to), ordered=False)
        await self._change("reservations", event, status)

    async def _end(self, event: SagaEvent, status: str) -> None:
        await self._change("orders", event, status)
        self._stamps.end(number_of(event.order_id))

    async def _change(self, collection: str, event: SagaEvent, status: str) -> None:
        await self._database[collection].update_one({"_id": event.order_id}, {"$set": {"status": status}})

    async def _publish(self, kind: type[SagaEvent], event: SagaEvent) -> None:
        await _publish(self._broker, kind(**dict(event)))


HANDLERS: dict[str, Callable[[Service], None]] = {
    ORDER: Service.subscribe_orders,
    INVENTORY: Service.subscribe_inventory,
    PAYMENT: Service.subscribe_payments,
}


async def main(service: str) -> None:
    """Run one service until the process is stopped."""
    broker = open_broker(surroundings.broker_url())
    Service(broker, surroundings.own_database(), surroundings.stamps()).subscribe(service)
    await FastStream(broker, after_startup=[surroundings.say_ready]).run()


def open_broker(url: str) -> RabbitBroker:
    """Return a broker as its users configure it for throughput."""
    return RabbitBroker(url, default_channel=Channel(prefetch_count=PREFETCH), logger=None)


async def _publish(broker: RabbitBroker, event: SagaEvent) -> None:
    await broker.publish(event, queue=type(event).__name__, persist=True)


def _queue(kind: type[SagaEvent]) -> RabbitQueue:
    return RabbitQueue(kind.__name__, durable=True)


def _request(order: Order) -> InventoryReservationRequested:
    return InventoryReservationRequested(
        order_id=order.order_id,
        user_id="u-1",
        total_amount=str(order.total),
        items=[
            Item(product_id=line.product, warehouse_id=line.warehouse, quantity=line.quantity)
            for line in order.lines
        ],
    )


if __name__ == "__main__":
    surroundings.run(main(surroundings.check_service(sys.argv[1], HANDLERS)))
