"""Fills databases with finished orders: plays one saga for each course with the production code, and copies
the stored documents, and their entries in the ledgers, as often as required."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from events.catalogue import INVENTORY, ORDER, PAYMENT, InventoryReservationRequested
from events.codec import decode
from events.values import Item, Location
from inventory_service.application import InventoryApplication
from inventory_service.mongo_store import InventoryStore
from inventory_service.stock import Warehouse
from order_service.application import OrderApplication
from order_service.mongo_store import OrderStore
from payment_service.application import PaymentApplication
from payment_service.mongo_store import PaymentStore
from payment_service.providers.directives import Behaviour
from payment_service.providers.simulated import SimulatedProvider
from payment_service.reactions import Retries
from saga.clock import utc_now
from saga.messaging.message import Message, to_message
from saga.messaging.results import Deferred, Handled
from saga.mongodb.client import Database, connect, database
from saga.mongodb.ledger import PAGE, ledger_of
from saga.reactions.aggregate import Aggregate
from saga.reactions.application import Application, Surroundings
from saga.reactions.cache import PublishedEvents
from saga.timers.relay import Relay
from verification.audit.reader import DatabaseAddress, Databases

BATCH = 1000
UNITS = 2
STOCK_KEY = ("berlin", "tea")
COURSES = ("confirmed", "confirmed", "confirmed", "confirmed", "declined", "cancelled", "short")
"""The courses that the orders take in turn."""

NUMBER = b"N" * 12
_EVENT_ID = re.compile(rb"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-)[0-9a-f]{12}")

Store = OrderStore | InventoryStore | PaymentStore


@dataclass(frozen=True, slots=True)
class _Template:
    """What one course has left in one database: with `NUMBER` where the number of the order has to be."""

    store: Store
    document: bytes
    state: Aggregate


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
        self._clients = {url: connect(url, 30) for url in databases.urls}
        order, inventory, payment = map(self._open, (databases.order, databases.inventory, databases.payment))
        self.orders = OrderStore(order["orders"], utc_now)
        self.stock = InventoryStore(inventory.client, inventory, utc_now, timedelta(minutes=10))
        self.payments = PaymentStore(payment["payments"], utc_now)
        self._publisher = CollectingPublisher()
        published = {service: PublishedEvents() for service in (ORDER, INVENTORY, PAYMENT)}
        self._relays = {
            service: Relay(service, self._publisher, known) for service, known in published.items()
        }
        around = {
            service: Surroundings(utc_now, self._relays[service].hand_over, known)
            for service, known in published.items()
        }
        provider = SimulatedProvider(Behaviour(), time.monotonic)
        self._customer = OrderApplication(self.orders, around[ORDER])
        self._applications: dict[str, Application[Any, Any]] = {
            ORDER: self._customer,
            INVENTORY: InventoryApplication(self.stock, around[INVENTORY]),
            PAYMENT: PaymentApplication(self.payments, around[PAYMENT], provider, 4.0, Retries()),
        }

    @property
    def stores(self) -> tuple[Store, Store, Store]:
        """The stores of the three services."""
        return self.orders, self.stock, self.payments

    async def prepare(self) -> None:
        """Create the indexes, and some stock."""
        for store in self.stores:
            await store.prepare()
        place = Location(latitude=52.5, longitude=13.4)
        await self.stock.set_warehouses([Warehouse(warehouse_id=STOCK_KEY[0], location=place)])
        await self.stock.set_level(*STOCK_KEY, 100, None)

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()

    async def play(self, course: str, order_id: str) -> None:
        """Play one saga to its end."""
        request = InventoryReservationRequested(
            order_id=order_id,
            user_id="u-1",
            items=(Item(product_id=STOCK_KEY[1], quantity=1000 if course == "short" else UNITS),),
            total_amount=Decimal("25.00"),
            payment_method="sim:decline" if course == "declined" else None,
        )
        order = await self._customer.place(request)
        if course == "cancelled":
            await self._customer.cancel(order)
        await self._deliver_all()
        # What the relay has published is written with the next change, or as here when its time has come.
        for service, store in zip((ORDER, INVENTORY, PAYMENT), self.stores, strict=True):
            await self._applications[service].reschedule(await store.readable([order_id]))

    def _open(self, address: DatabaseAddress) -> Database:
        return database(self._clients[address.url], address.name)

    async def _deliver_all(self) -> None:
        while True:
            for relay in self._relays.values():
                await relay.publish_handed_over()
            if not self._publisher.messages:
                return
            await self._deliver(self._publisher.messages.pop(0))

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
    templates = {course: await _template(services, course) for course in dict.fromkeys(COURSES)}
    ended: Counter[str] = Counter()
    for numbers in _batches(orders):
        copies: dict[Store, list[RawBSONDocument]] = {}
        for number in numbers:
            course = COURSES[number % len(COURSES)]
            ended[course] += 1
            for template in templates[course]:
                document = RawBSONDocument(template.document.replace(NUMBER, b"%012d" % number))
                copies.setdefault(template.store, []).append(document)
        await asyncio.gather(
            *(_raw(store).insert_many(documents, ordered=False) for store, documents in copies.items())
        )
    for store in (services.orders, services.payments):
        await _fill_ledger(store, templates, orders)
    sold = ended["confirmed"] * UNITS
    await services.stock.collection.database["stock"].update_one(
        {"_id": "/".join(STOCK_KEY)},
        [{"$set": {"allocated": sold, "reserved": 0, "owned": {"$add": ["$available", sold]}}}],
    )
    services.close()
    return ended


async def _template(services: InProcessServices, course: str) -> list[_Template]:
    order_id = f"{course}-{NUMBER.decode()}"
    await services.play(course, order_id)
    templates = []
    for store in services.stores:
        if store.ledger:
            await store.ledger.fold()
        if (found := await _raw(store).find_one({"_id": order_id})) is not None:
            state = (await store.fetch([order_id]))[order_id].state
            assert state is not None
            templates.append(_Template(store, _EVENT_ID.sub(rb"\1" + NUMBER, found.raw), state))
            await _raw(store).delete_one({"_id": order_id})
    return templates


async def _fill_ledger(store: Store, templates: dict[str, list[_Template]], orders: int) -> None:
    """Write the totals and the lists of the orders."""
    totals: dict[str, Decimal] = {}
    lists: dict[str, list[dict[str, Any]]] = {}
    for number in range(orders):
        course = COURSES[number % len(COURSES)]
        for template in templates[course]:
            if template.store is not store:
                continue
            for name, amount in template.state.totals.items():
                totals[name] = totals.get(name, Decimal(0)) + amount
            if listing := template.state.listing:
                key = f"{course}-{number:012d}"
                lists.setdefault(listing.name, []).append({"key": key, "at": listing.at})
    ledger = ledger_of(store.collection)
    await ledger.delete_many({})
    pages = [
        {"_id": f"{name}/{first // PAGE}", "entries": entries[first : first + PAGE]}
        for name, entries in lists.items()
        for first in range(0, len(entries), PAGE)
    ]
    listed = {name: len(entries) for name, entries in lists.items()}
    await ledger.insert_many([{"_id": "head", "totals": totals, "listed": listed}, *pages])


def _raw(store: Store) -> Any:
    return store.collection.with_options(bson.CodecOptions(document_class=RawBSONDocument))


def _batches(orders: int) -> Iterator[range]:
    for start in range(0, orders, BATCH):
        yield range(start, min(start + BATCH, orders))
