"""The peers: three processes each, and a client in this one."""

import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import aio_pika
import httpx

from benchmarks.load import Submit
from benchmarks.peers import documents, forwarder, surroundings
from benchmarks.stamps import Stamps
from benchmarks.systems.nodes import in_thread, running_nodes
from benchmarks.systems.system import CLIENT, Addresses, Broker
from benchmarks.workload import PLACES, Ends, differences
from events.catalogue import INVENTORY, ORDER, PAYMENT, SERVICES
from local_stack.mongodb_node import DatabaseNode
from local_stack.process import Child, wait_until
from operations.endpoints import broker_login
from saga.messaging.users import ADMINISTRATOR

START_LIMIT = 30.0
STOP_LIMIT = 5.0
"""Seconds a peer's process may take to start and to stop."""

OpenClient = Callable[[Addresses], AbstractAsyncContextManager[Submit]]


@dataclass(frozen=True, slots=True)
class PeerSystem:
    """A peer: the module that its processes run, its queues, and its client."""

    name: str
    about: str
    module: str
    queues: Sequence[str]
    open_client: OpenClient

    @asynccontextmanager
    async def stored(self, directory: Path, broker: Broker) -> AsyncIterator["StoredPeer"]:
        """Start a database process a service, and create the stock and a virtual host with the queues."""
        nodes = {
            name: DatabaseNode(directory / name, log=directory / "logs" / f"{name}-mongodb.log")
            for name in SERVICES
        }
        async with running_nodes(nodes.values()):
            stored = StoredPeer(self, nodes, await _virtual_host(broker, self.module.rpartition(".")[2]))
            await stored.prepare()
            yield stored


class StoredPeer:
    """See `benchmarks.systems.system.Stored`."""

    def __init__(self, peer: PeerSystem, nodes: Mapping[str, DatabaseNode], broker_url: str) -> None:
        self._peer = peer
        self._nodes = nodes
        self._broker_url = broker_url

    @property
    def addresses(self) -> Addresses:
        urls = {name: node.url for name, node in self._nodes.items()}
        roles = (*SERVICES, CLIENT)
        return Addresses(dict.fromkeys(roles, self._broker_url), {**urls, CLIENT: urls[ORDER]})

    @property
    def processes(self) -> Sequence[int]:
        return [child.pid for node in self._nodes.values() for child in node.children]

    async def prepare(self) -> None:
        """Create the stock and the queues."""
        stock = surroundings.open_database(self._nodes[INVENTORY].url)["stock"]
        await stock.insert_many([documents.new_level(place) for place in PLACES])
        async with await aio_pika.connect(self._broker_url) as connection:
            channel = await connection.channel()
            for queue in self._peer.queues:
                await channel.declare_queue(queue, durable=True)

    @asynccontextmanager
    async def running(
        self, addresses: Addresses, stamps: Stamps, directory: Path
    ) -> AsyncIterator["RunningPeer"]:
        """Run the three processes."""
        children = {}
        try:
            for name in SERVICES:
                ready = directory / f"{name}.ready"
                ready.unlink(missing_ok=True)
                env = surroundings.environment(
                    addresses.broker[name], addresses.database[name], stamps.path, ready
                )
                argv = [sys.executable, "-m", self._peer.module, name]
                children[name] = Child(name, argv, env=env, log=directory / "logs" / f"{name}.log")
                children[name].start()
            for name, child in children.items():
                ready = directory / f"{name}.ready"
                await in_thread(
                    wait_until, ready.exists, START_LIMIT, f"{child.name} consumes its queues", child
                )
            async with self._peer.open_client(addresses) as submit:
                yield RunningPeer({name: [child.pid] for name, child in children.items()}, submit)
        finally:
            for child in children.values():
                await in_thread(child.stop, STOP_LIMIT)

    async def problems(self, count: int) -> list[str]:
        """Compare with the workload."""
        databases = {name: surroundings.open_database(node.url) for name, node in self._nodes.items()}
        payments: Counter[str] = Counter()
        reservations: Counter[str] = Counter()
        async for one in databases[PAYMENT]["payments"].find():
            payments[one["status"]] += 1
        async for one in databases[INVENTORY]["reservations"].find():
            reservations[one["status"]] += 1
        statuses = {one["_id"]: one["status"] async for one in databases[ORDER]["orders"].find()}
        stock = {}
        async for one in databases[INVENTORY]["stock"].find():
            warehouse, _, product = one["_id"].partition("/")
            stock[warehouse, product] = one["available"], one["reserved"], one["allocated"]
        return differences(Ends(statuses, stock, payments, reservations), count)


@dataclass(frozen=True, slots=True)
class RunningPeer:
    """See `benchmarks.systems.system.Running`."""

    processes: Mapping[str, Sequence[int]]
    submit: Submit


def peers() -> list[PeerSystem]:
    """Return the peers that can run here."""
    found = [
        PeerSystem(
            name="bare forwarder",
            about="aio-pika, fewest writes; no saga, no guarantee",
            module=forwarder.__name__,
            queues=forwarder.QUEUES,
            open_client=_forwarding_client,
        )
    ]
    if find_spec("faststream"):
        from benchmarks.peers import faststream_saga

        found.append(
            PeerSystem(
                name="FastStream",
                about="naive choreography, 4 messages; no outbox, no inbox",
                module=faststream_saga.__name__,
                queues=faststream_saga.QUEUES,
                open_client=_faststream_client,
            )
        )
    return found


@asynccontextmanager
async def _forwarding_client(addresses: Addresses) -> AsyncIterator[Submit]:
    async with await aio_pika.connect(addresses.broker[CLIENT]) as connection:
        channel = await connection.channel(publisher_confirms=True)
        yield forwarder.Client(channel, surroundings.open_database(addresses.database[CLIENT])).submit


@asynccontextmanager
async def _faststream_client(addresses: Addresses) -> AsyncIterator[Submit]:
    from benchmarks.peers import faststream_saga

    database = surroundings.open_database(addresses.database[CLIENT])
    async with faststream_saga.open_broker(addresses.broker[CLIENT]) as broker:
        yield faststream_saga.Client(broker, database).submit


async def _virtual_host(broker: Broker, name: str) -> str:
    """Create a new virtual host for the administrator; return its URL."""
    url = broker.url_of(ADMINISTRATOR)
    login = broker_login(url)
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    async with httpx.AsyncClient(
        base_url=broker.management_url, auth=(login.user, login.password), trust_env=False
    ) as api:
        await api.delete(f"/api/vhosts/{quote(name)}")
        (await api.put(f"/api/vhosts/{quote(name)}")).raise_for_status()
        (await api.put(f"/api/permissions/{quote(name)}/{ADMINISTRATOR}", json=everything)).raise_for_status()
    return url + name
