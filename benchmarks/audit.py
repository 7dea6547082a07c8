"""How long the audit takes: `python -m benchmarks.audit --orders 100000`.

Starts its own embedded database, plays one saga for each course with the production code, copies the stored
documents as often as required, and audits them.
"""

import argparse
import asyncio
import re
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from events.catalogue import INVENTORY, ORDER, PAYMENT, SERVICES, InventoryReservationRequested
from events.codec import decode
from events.values import Item
from inventory_service.application import InventoryApplication
from inventory_service.mongo_store import InventoryStore
from local_stack.mongodb_node import DatabaseNode
from order_service.application import OrderApplication
from order_service.mongo_store import OrderStore
from order_service.order import Order
from payment_service.application import PaymentApplication
from payment_service.mongo_store import PaymentStore
from payment_service.payment import Payment
from payment_service.providers.directives import Behaviour
from payment_service.providers.simulated import SimulatedProvider
from payment_service.reactions import Retries
from saga import logs
from saga.clock import utc_now
from saga.messaging.message import Message, to_message
from saga.messaging.results import Deferred, Handled
from saga.mongodb.client import connect, database
from saga.reactions.application import Application, Surroundings
from saga.reactions.cache import PublishedEvents
from saga.timers.relay import Relay
from verification.audit.auditor import audit
from verification.audit.reader import Databases, databases_at

MAX_ORDERS = 1_000_000
BATCH = 1000
UNITS = 2
STOCK_KEY = ("berlin", "tea")
COURSES = ("confirmed", "confirmed", "confirmed", "confirmed", "declined", "cancelled", "short")
"""The courses that the orders take in turn."""

NUMBER = b"N" * 12
_EVENT_ID = re.compile(rb"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-)[0-9a-f]{12}")


class CollectingPublisher:
    """Collects what the services publish."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, messages: Sequence[Message]) -> None:
        """See `saga.messaging.publisher.Publisher.send`."""
        self.messages += messages

    async def check(self) -> None:
        """See `saga.messaging.publisher.Publisher.check`."""


class InProcessServices:
    """The three services in this process, on real stores, without HTTP API and broker."""

    def __init__(self, databases: Databases) -> None:
        self.client = connect(databases.order.url, 30)
        at = (databases.order, databases.inventory, databases.payment)
        order, inventory, payment = (database(self.client, one.name) for one in at)
        self.orders = OrderStore(order["orders"], Order, utc_now)
        self.stock = InventoryStore(self.client, inventory, utc_now, timedelta(minutes=10))
        self.payments = PaymentStore(payment["payments"], Payment, utc_now)
        self._publisher = CollectingPublisher()
        self._relays: list[Relay] = []
        provider = SimulatedProvider(Behaviour(), time.monotonic)
        self._customer = OrderApplication(self.orders, self._around(ORDER))
        self._applications: dict[str, Application[Any, Any]] = {
            ORDER: self._customer,
            INVENTORY: InventoryApplication(self.stock, self._around(INVENTORY)),
            PAYMENT: PaymentApplication(self.payments, self._around(PAYMENT), provider, 4.0, Retries()),
        }

    def _around(self, service: str) -> Surroundings:
        published = PublishedEvents()
        relay = Relay(service, self._publisher, published)
        self._relays.append(relay)
        return Surroundings(utc_now, relay.hand_over, published)

    async def prepare(self) -> None:
        """Create the indexes, and some stock."""
        for store in (self.orders, self.stock, self.payments):
            await store.prepare()
        await self.stock.set_level(*STOCK_KEY, 100, None)

    async def play(self, course: str, order_id: str) -> None:
        """Play one saga to its end."""
        request = InventoryReservationRequested(
            order_id=order_id,
            user_id="u-1",
            items=(Item(product_id=STOCK_KEY[1], quantity=1000 if course == "short" else UNITS),),
            total_amount="25.00",
            payment_method="sim:decline" if course == "declined" else None,
        )
        order = await self._customer.place(request)
        if course == "cancelled":
            await self._customer.cancel(order)
        while True:
            for relay in self._relays:
                await relay.publish_handed_over()
            if not self._publisher.messages:
                break
            await self._deliver(self._publisher.messages.pop(0))
        for application in self._applications.values():
            await application.reschedule(await application.readable([order_id]))

    async def _deliver(self, message: Message) -> None:
        event = decode(message.body)
        for service in type(event).handled_by:
            [handled] = await self._applications[service].handle([event])
            done = await handled.result if isinstance(handled, Deferred) else handled
            assert isinstance(done, Handled), done
            await self._publisher.send([to_message(one) for one in done.publish])


async def fill(databases: Databases, orders: int) -> Counter[str]:
    """Fill empty databases with orders; return how many took each course."""
    services = InProcessServices(databases)
    await services.prepare()
    templates: dict[str, list[tuple[Any, bytes]]] = {}
    for course in set(COURSES):
        order_id = f"{course}-{NUMBER.decode()}"
        await services.play(course, order_id)
        templates[course] = []
        for store in (services.orders, services.stock, services.payments):
            raw: Any = store.collection.with_options(bson.CodecOptions(document_class=RawBSONDocument))
            if (found := await raw.find_one({"_id": order_id})) is not None:
                templates[course].append((raw, _EVENT_ID.sub(rb"\1" + NUMBER, found.raw)))
                await raw.delete_one({"_id": order_id})
    ended: Counter[str] = Counter()
    for numbers in _batches(orders):
        copies: dict[Any, list[RawBSONDocument]] = {}
        for number in numbers:
            course = COURSES[number % len(COURSES)]
            ended[course] += 1
            for collection, template in templates[course]:
                copies.setdefault(collection, []).append(
                    RawBSONDocument(template.replace(NUMBER, b"%012d" % number))
                )
        for collection, documents in copies.items():
            await collection.insert_many(documents, ordered=False)
    sold = ended["confirmed"] * UNITS
    await services.client[databases.inventory.name]["stock"].update_one(
        {"_id": "/".join(STOCK_KEY)},
        [{"$set": {"allocated": sold, "reserved": 0, "owned": {"$add": ["$available", sold]}}}],
    )
    services.client.close()
    return ended


def _batches(orders: int) -> Iterator[range]:
    for start in range(0, orders, BATCH):
        yield range(start, min(start + BATCH, orders))


def main() -> None:
    """Fill, audit, and print how long each takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=10_000, help=f"at most {MAX_ORDERS:,}")
    logs.configure("benchmark", "warning")
    orders = min(parser.parse_args().orders, MAX_ORDERS)
    with tempfile.TemporaryDirectory() as directory:
        node = DatabaseNode(Path(directory))
        node.start()
        try:
            node.wait_ready()
            databases = databases_at(dict.fromkeys(SERVICES, node.url))
            started = time.monotonic()
            asyncio.run(fill(databases, orders))
            print(f"filled with {orders} orders in {time.monotonic() - started:.1f} s", flush=True)
            report = audit(databases, at_rest=True)
        finally:
            node.kill()
    assert report.ok, report.broken
    assert report.judged == orders, report
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{orders / report.seconds:.0f} orders a second, at most {megabytes:.0f} MB of memory")


if __name__ == "__main__":
    main()
