"""The saga of this repository: three services, unchanged, and a client that publishes requests."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aio_pika
from aio_pika.abc import AbstractExchange, AbstractIncomingMessage

from benchmarks.stamps import Stamps
from benchmarks.systems.nodes import in_thread, running_nodes
from benchmarks.systems.system import CLIENT, Addresses, Broker
from benchmarks.workload import (
    PLACES,
    STOCKED,
    WAREHOUSES,
    Ends,
    Place,
    differences,
    number_of,
    order,
    order_id,
)
from events.catalogue import INVENTORY, ORDER, SERVICES, InventoryReservationRequested
from events.values import Location
from inventory_service.mongo_store import level_id
from inventory_service.stock import Level, Warehouse
from local_stack.mongodb_node import DatabaseNode
from local_stack.process import free_port
from local_stack.stack import Stack
from operations.access.database_users import AUDITOR
from operations.access.passwords import MONGODB, RABBITMQ, named_or_made, url_variable
from operations.event_tap import LAST_EVENTS
from operations.registry import SPECS
from saga.messaging.topology import exchange_of
from saga.mongodb.client import Document, connect, database
from saga.settings import read
from verification.audit.auditor import audit_at_rest
from verification.audit.reader import Databases, databases_at, reading

REQUEST = InventoryReservationRequested.__name__


@dataclass(frozen=True, slots=True)
class RunningSaga:
    """The services, and the exchange to which the client publishes."""

    processes: Mapping[str, Sequence[int]]
    _exchange: AbstractExchange

    async def submit(self, number: int) -> None:
        """Publish the request as any program may that starts sagas: with its business fields alone."""
        placed = order(number)
        body = {
            "type": REQUEST,
            "orderId": placed.order_id,
            "userId": "u-1",
            "totalAmount": str(placed.total),
            "items": [
                {"productId": line.product, "warehouseId": line.warehouse, "quantity": line.quantity}
                for line in placed.lines
            ],
            **({"paymentMethod": "sim:decline"} if placed.declined else {}),
        }
        message = aio_pika.Message(json.dumps(body).encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await self._exchange.publish(message, REQUEST)


class StoredSaga:
    """The databases of the services; see `benchmarks.systems.system.Stored`."""

    def __init__(self, broker: Broker, nodes: Mapping[str, DatabaseNode], replicas: int) -> None:
        self._broker = broker
        self._replicas = replicas
        self.nodes = nodes

    @property
    def addresses(self) -> Addresses:
        return Addresses(
            broker={**{name: self._broker.url_of(name) for name in SERVICES}, CLIENT: self._broker.url},
            database={name: node.url_of(name) for name, node in self.nodes.items()},
        )

    @property
    def processes(self) -> Sequence[int]:
        return [child.pid for node in self.nodes.values() for child in node.children]

    @property
    def databases(self) -> Databases:
        """The databases, for a reader of all of them."""
        return databases_at({name: node.url_of(AUDITOR) for name, node in self.nodes.items()})

    async def stock(self) -> None:
        """Store warehouses and levels in the form of the inventory service; the audit will judge it."""
        inventory = self.databases.inventory
        client = connect(self.nodes[INVENTORY].url_of(INVENTORY))
        try:
            rooms = database(client, inventory.name)
            await rooms["warehouses"].insert_many(map(_warehouse, WAREHOUSES))
            await rooms["stock"].insert_many(map(_level, PLACES))
        finally:
            client.close()

    @asynccontextmanager
    async def running(
        self, addresses: Addresses, stamps: Stamps, directory: Path
    ) -> AsyncIterator[RunningSaga]:
        """Run the services; the client notes the end of an order when its last event arrives."""
        env = {
            "RABBITMQ_URL": self._broker.url,
            "RABBITMQ_MANAGEMENT_URL": self._broker.management_url,
            **{url_variable(name, RABBITMQ): addresses.broker[name] for name in SERVICES},
            **{url_variable(name, MONGODB): addresses.database[name] for name in SERVICES},
            **{spec.port_variable: str(free_port()) for spec in SPECS.values()},
        }
        stack = Stack(directory, env=env)
        try:
            await in_thread(stack.start)
            for name in SERVICES * (self._replicas - 1):
                await in_thread(stack.start_replica, name)
            async with (
                await aio_pika.connect(addresses.broker[CLIENT]) as publishing,
                await aio_pika.connect(self._broker.url) as listening,
            ):
                await _note_ends(await listening.channel(publisher_confirms=False), stamps)
                channel = await publishing.channel(publisher_confirms=True)
                exchange = await channel.get_exchange(exchange_of(ORDER), ensure=False)
                processes = {
                    name: [child.pid for child in stack.children if child.name.startswith(name)]
                    for name in SERVICES
                }
                yield RunningSaga(processes, exchange)
        finally:
            await in_thread(stack.stop)

    async def problems(self, count: int) -> list[str]:
        """Compare with the workload, and audit everything."""
        ids = [order_id(number) for number in range(count)]
        report = await asyncio.to_thread(audit_at_rest, self.databases, None, ids)
        broken = [f"audit: {one.subject} {one.text}" for found in report.violations for one in found.findings]
        if report.judged != count:
            broken.append(f"audit: {report.judged} orders were judged instead of {count}")
        return [*differences(await asyncio.to_thread(_ends, self.databases, ids), count), *broken]


class SagaSystem:
    """See `benchmarks.systems.system.System`."""

    name = "this saga"

    def __init__(self, replicas: int = 1) -> None:
        """Run so many processes of each service."""
        self._replicas = replicas

    @property
    def about(self) -> str:
        """What the report says of it."""
        each = "" if self._replicas == 1 else f", {self._replicas} replicas of each service"
        return f"every guarantee on{each}"

    @asynccontextmanager
    async def stored(self, directory: Path, broker: Broker) -> AsyncIterator[StoredSaga]:
        """Start a database process a service, and create the stock."""
        nodes = {name: _node(directory, name) for name in SERVICES}
        async with running_nodes(nodes.values()):
            stored = StoredSaga(broker, nodes, self._replicas)
            await stored.stock()
            yield stored


def _node(directory: Path, service: str) -> DatabaseNode:
    return DatabaseNode(
        directory / "mongodb" / service,
        log=directory / "logs" / f"{service}-mongodb.log",
        passwords=named_or_made([service, AUDITOR], MONGODB, {}),
        databases={service: read(SPECS[service].settings).database},
        name=f"the database of {service}",
    )


def _warehouse(name: str) -> Document:
    latitude, longitude = WAREHOUSES[name]
    place = Location(latitude=latitude, longitude=longitude)
    return {"_id": name, **Warehouse(warehouse_id=name, location=place).model_dump(by_alias=True)}


def _level(place: Place) -> Document:
    warehouse, product = place
    level = Level(warehouse_id=warehouse, product_id=product, available=STOCKED, owned=STOCKED, version=1)
    return {"_id": level_id(*place), **level.model_dump(by_alias=True)}


async def _note_ends(channel: aio_pika.abc.AbstractChannel, stamps: Stamps) -> None:
    async def arrived(message: AbstractIncomingMessage) -> None:
        _, _, order_id = (message.routing_key or "").partition(".")
        stamps.end(number_of(order_id))

    queue = await channel.declare_queue(exclusive=True)
    for kind in LAST_EVENTS:
        await queue.bind(exchange_of(ORDER), f"{kind}.#")
    await queue.consume(arrived, no_ack=True)


def _ends(databases: Databases, order_ids: Sequence[str]) -> Ends:
    statuses: dict[str, str] = {}
    payments: Counter[str] = Counter()
    reservations: Counter[str] = Counter()
    stock: dict[Place, tuple[int, int, int]] = {}
    with reading(databases) as reader:
        for row in reader.some(order_ids):
            case = row.case
            if case.order:
                statuses[case.order_id] = case.order.state.status
            if case.payment:
                payments[case.payment.state.status] += 1
            if case.reservation:
                reservations[case.reservation.state.status] += 1
        for place, level in reader.levels().items():
            stock[place] = level.available, level.reserved, level.allocated
    return Ends(statuses, stock, payments, reservations)
