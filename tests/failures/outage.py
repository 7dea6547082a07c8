"""A system whose broker and database are a test's own, to be taken away, with proxies in between."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from events.catalogue import INVENTORY, SERVICES
from local_stack.mongodb_node import DatabaseNode
from local_stack.proxy import Proxy
from local_stack.rabbitmq_node import BrokerNode
from local_stack.rabbitmq_programs import find_server
from saga.rabbitmq.connection import connect
from tests.failures.scenario import FailureScenario
from tests.support.broker import Client, until

DELAYED = "sim:delay:2"
"""The payment method of an order that is in progress for at least two seconds."""


class Outage:
    """A scenario with its broker, database and network, each of which a test can fail."""

    def __init__(
        self,
        scenario: FailureScenario,
        broker: BrokerNode,
        database: DatabaseNode,
        network: Proxy,
        directory: Path,
    ) -> None:
        self.scenario = scenario
        self.system = scenario.system
        self.broker = broker
        self.database = database
        self.network = network
        """What the services reach the broker through."""
        self._directory = directory

    async def in_progress(self, product: str, count: int) -> list[str]:
        """Place orders, every second one with a slow payment; return their ids while some wait for theirs."""
        methods = [DELAYED, "sim:approve"] * (count // 2)
        order_ids = list(
            await asyncio.gather(
                *(self.system.place_with_retries(product, paymentMethod=method) for method in methods)
            )
        )
        await self.scenario.in_progress(order_ids)
        return order_ids

    @asynccontextmanager
    async def placing(self, product: str, count: int) -> AsyncIterator[list[str]]:
        """Let customers place orders, with retries until accepted; the list is complete after the block."""
        order_ids: list[str] = []
        async with asyncio.TaskGroup() as customers:
            placed = [customers.create_task(self.system.place_with_retries(product)) for _ in range(count)]
            yield order_ids
        order_ids += [task.result() for task in placed]

    async def stopped_working(self, service: str, because: str = "") -> None:
        """Wait until a service says that it cannot work, and why."""
        url = self.system.at.of(service) + "/readyz"

        async def says_so() -> bool:
            answer = await self.system.get(url)
            return answer.get("status") == 503 and because in answer["detail"]

        await until(says_so, f"{service} is not ready", limit=60)

    async def all_stopped_working(self) -> None:
        """Wait until every service has noticed that something is missing."""
        for service in SERVICES:
            await self.stopped_working(service)

    async def restore(self) -> None:
        """Start and heal everything that a test has left broken."""
        await self.network.heal()
        for node in (self.broker, self.database):
            for child in node.children:
                if child.alive:
                    child.signal(signal.SIGCONT)
            if not node.children[0].alive:
                await asyncio.to_thread(node.start)
                await asyncio.to_thread(node.wait_ready)

    async def start_broker(self) -> None:
        """Start the broker, and wait until it can be used."""
        await asyncio.to_thread(self.broker.start)
        await asyncio.to_thread(self.broker.wait_ready)

    async def start_database(self) -> None:
        """Start the database, and wait until it can be used."""
        await asyncio.to_thread(self.database.start)
        await asyncio.to_thread(self.database.wait_ready)

    async def lose_requests(self, product: str, count: int) -> list[str]:
        """Place orders, and wipe the broker's disk before inventory reads their requests.

        Return their ids once broker and services are ready.
        """
        self.system.stack.service(INVENTORY).kill()
        order_ids = [await self.system.place_with_retries(product) for _ in range(count)]
        async with self.broker_client() as client:

            async def all_there() -> bool:
                return await client.depth(INVENTORY) >= count

            await until(all_there, "the requests wait for inventory", limit=60)
        self.broker.kill()
        shutil.rmtree(self._directory / "data")
        await self.start_broker()
        await self.scenario.bring_back(INVENTORY)
        for service in SERVICES:
            await self.scenario.ready(service)
        await self.scenario.tap.declare()
        return order_ids

    async def nudge(self) -> set[str]:
        """Run `saga nudge`; return the ids of the orders whose requests were published again."""
        saga = Path(sys.executable).with_name("saga")
        env = {**os.environ, "ORDER_URL": self.system.at.order}
        command = [str(saga), "nudge", "--json"]
        result = await asyncio.to_thread(
            subprocess.run, command, env=env, check=False, capture_output=True, text=True, timeout=60
        )
        assert result.returncode == 0, result.stderr
        return {question["orderId"] for question in json.loads(result.stdout)}

    async def set_memory_limit(self, limit: str) -> None:
        """Set how much memory the broker may use before it blocks publishers, as in `1GB`."""
        control = find_server().with_name("rabbitmqctl")
        command = [str(control), "set_vm_memory_high_watermark", "absolute", limit]
        await asyncio.to_thread(
            subprocess.run,
            command,
            env=self.broker.environment(),
            check=True,
            capture_output=True,
            timeout=60,
        )

    @asynccontextmanager
    async def broker_client(self) -> AsyncIterator[Client]:
        """Open a connection of the test's own, past the proxy."""
        async with await connect(self.broker.url, "test") as connection:
            yield Client(connection, await connection.channel())

    def memory(self) -> int:
        """Return how many bytes of memory the services have between them."""
        pids = [self.system.stack.service(name).pid for name in SERVICES]
        return sum(_resident(pid) for pid in pids)

    async def check_recovered(
        self, order_ids: Sequence[str], product: str, *, tap_is_complete: bool = True
    ) -> None:
        """Check that the system has recovered: nothing lost, nothing doubled, every service at work."""
        await self.scenario.check_all_work()
        await self.scenario.check_all_confirmed(order_ids, product)
        if tap_is_complete:
            await self.scenario.published_once(order_ids)


def port_of(url: str) -> int:
    """Return the port of a URL."""
    return urlsplit(url).port or 0


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
