"""A private system into every part of which faults can be injected, and which recovers."""

import asyncio
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from urllib.parse import quote, urlsplit

import httpx

from events.catalogue import SERVICES
from local_stack.mongodb_node import DatabaseNode
from local_stack.process import Child, free_port
from local_stack.proxy import Proxy, proxy_to
from local_stack.rabbitmq_node import BrokerNode
from local_stack.stack import SERVICE_STOP_LIMIT, Stack
from operations.access.broker_definitions import users
from operations.access.database_users import AUDITOR
from operations.access.passwords import MONGODB, RABBITMQ, named_or_made, url_variable
from operations.endpoints import broker_login
from operations.registry import SPECS, TOPOLOGIES
from saga.messaging.users import ADMINISTRATOR
from saga.settings import read
from verification.chaos.faults import BROKER, DATABASE_OF, DATABASES, Fault, Kind

RECOVERY_LIMIT = 180.0
"""Seconds a part may take to recover, on a busy machine and with faults of other parts meanwhile."""
BROKER_PAUSE_AFTER = 10.0
"""Seconds without a fault after the broker has recovered from a restart."""
POLL_INTERVAL = 0.1
_USER_OF = {part: service for service, part in DATABASE_OF.items()}


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """A fault that was injected, and the seconds from its end until everything it affects worked again."""

    fault: Fault
    recovery: float


class SystemUnderTest:
    """The parts of a running stack, and how a fault is injected into each. See `system_under_test`."""

    def __init__(
        self,
        stack: Stack,
        broker: BrokerNode,
        databases: Mapping[str, DatabaseNode],
        proxies: Mapping[str, Proxy],
    ) -> None:
        """`databases` has one for each service; `proxies` is what leads to each node, by part."""
        self.stack = stack
        self.injected: list[InjectedFault] = []
        self.problems: list[str] = []
        """What went wrong without a fault to explain it."""
        self._broker = broker
        self._databases = databases
        self._proxies = proxies
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def database_urls(self) -> dict[str, str]:
        """The URL of each service's database past its proxy, so that no cut affects it."""
        return {service: node.url_of(AUDITOR) for service, node in self._databases.items()}

    @property
    def broker_url(self) -> str:
        """The URL of the broker past the proxy, so that no cut affects it."""
        return self._broker.url

    async def inject(self, fault: Fault) -> None:
        """Inject a fault and wait until the system has recovered; faults of one part take turns."""
        async with AsyncExitStack() as turns:
            for part in _single_parts(fault.part):
                await turns.enter_async_context(self._locks[part])
            await self._apply(fault)
            started = monotonic()
            await self._recovered(fault)
            self.injected.append(InjectedFault(fault, monotonic() - started))
            if fault.part == BROKER and fault.kind in ("kill", "stop"):
                await asyncio.sleep(BROKER_PAUSE_AFTER)

    async def watch(self) -> None:
        """Start services again that have ended without a fault, and note it; runs until it is cancelled."""
        while True:
            for service in SERVICES:
                if not self._locks[service].locked():
                    self._revive(service)
            await asyncio.sleep(1)

    def _node(self, part: str) -> BrokerNode | DatabaseNode:
        return self._broker if part == BROKER else self._databases[_USER_OF[part]]

    def _process(self, part: str) -> Child:
        return self.stack.service(part) if part in SERVICES else self._node(part).children[0]

    async def _apply(self, fault: Fault) -> None:
        parts = _single_parts(fault.part)
        if fault.kind == "cut":
            await asyncio.gather(*map(self._cut, parts))
        elif fault.kind == "pause":
            processes = [self._process(part) for part in parts]
            for process in processes:
                process.signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(fault.seconds)
            finally:
                for process in processes:
                    process.signal(signal.SIGCONT)
        else:
            await asyncio.gather(*(asyncio.to_thread(self._end(part, fault.kind)) for part in parts))
            await asyncio.sleep(fault.seconds)
            await asyncio.gather(*(asyncio.to_thread(self._start(part)) for part in parts))

    def _end(self, part: str, kind: Kind) -> Callable[[], None]:
        service = self.stack.service(part) if part in SERVICES else None
        if kind == "kill":
            return service.kill if service else self._node(part).kill
        return (lambda: service.stop(SERVICE_STOP_LIMIT)) if service else self._node(part).stop

    def _start(self, part: str) -> Callable[[], None]:
        if part in SERVICES:
            return self.stack.service(part).start
        node = self._node(part)

        def start() -> None:
            node.start()
            node.wait_ready()

        return start

    async def _cut(self, part: str) -> None:
        if part in self._proxies:
            self._proxies[part].cut()
            return
        # The broker closes the service's connections; a broker that is down has none to close.
        management = self.stack.endpoints.management
        with suppress(httpx.HTTPError, ValueError):
            login = broker_login(self._broker.url_of(ADMINISTRATOR))
            auth = (login.user, login.password)
            async with httpx.AsyncClient(base_url=management, auth=auth, trust_env=False) as api:
                rows = (await api.get("/api/connections")).raise_for_status().json()
                for row in rows:
                    if row.get("client_properties", {}).get("connection_name", "").startswith(part):
                        await api.delete(f"/api/connections/{quote(row['name'], safe='')}")

    async def _recovered(self, fault: Fault) -> None:
        deadline = monotonic() + RECOVERY_LIMIT
        for service in _affected(fault.part):
            while not await self._ready(service):
                if fault.part == service:
                    self._revive(service)
                if monotonic() > deadline:
                    self.problems.append(f"{service} is not ready {RECOVERY_LIMIT:g} s after the {fault}")
                    return
                await asyncio.sleep(POLL_INTERVAL)

    async def _ready(self, service: str) -> bool:
        base = self.stack.endpoints.of(service)
        try:
            async with httpx.AsyncClient(trust_env=False) as http:
                return (await http.get(f"{base}/readyz")).is_success
        except httpx.HTTPError:
            return False

    def _revive(self, service: str) -> None:
        process = self.stack.service(service)
        if not process.alive:
            self.problems.append(f"without a fault, {process.describe_end()}")
            process.start()


@asynccontextmanager
async def system_under_test(directory: Path, report: Callable[[str], None]) -> AsyncIterator[SystemUnderTest]:
    """Start a stack of its own below a directory, whose services reach broker and databases through proxies.

    Raises:
        ProcessFailed: a part does not come up.
    """
    broker = BrokerNode(
        directory / "rabbitmq",
        log=directory / "logs" / "rabbitmq.log",
        passwords=named_or_made([*users(TOPOLOGIES.values()), ADMINISTRATOR], RABBITMQ, {}),
    )
    databases = {name: _database(directory, name) for name in SERVICES}
    nodes: list[BrokerNode | DatabaseNode] = [broker, *databases.values()]
    try:
        report("starting RabbitMQ and the databases")
        await asyncio.gather(*(asyncio.to_thread(node.start) for node in nodes))
        await asyncio.gather(*(asyncio.to_thread(node.wait_ready) for node in nodes))
        async with AsyncExitStack() as opened:
            to_broker = await opened.enter_async_context(proxy_to(_port(broker.url)))
            to_databases = {
                name: await opened.enter_async_context(proxy_to(_port(node.url)))
                for name, node in databases.items()
            }
            env = {
                "RABBITMQ_URL": _through(broker.url, to_broker),
                "RABBITMQ_MANAGEMENT_URL": broker.management_url,
                **{
                    url_variable(name, RABBITMQ): _through(broker.url_of(name), to_broker)
                    for name in SERVICES
                },
                **{
                    url_variable(name, MONGODB): _through(databases[name].url_of(name), to_databases[name])
                    for name in SERVICES
                },
                **{spec.port_variable: str(free_port()) for spec in SPECS.values()},
            }
            stack = Stack(directory, env=env)
            proxies = {BROKER: to_broker, **{DATABASE_OF[name]: to_databases[name] for name in SERVICES}}
            try:
                await asyncio.to_thread(stack.start, report)
                yield SystemUnderTest(stack, broker, databases, proxies)
            finally:
                report("stopping")
                await asyncio.to_thread(stack.stop)
    finally:
        await asyncio.gather(*(asyncio.to_thread(node.stop) for node in nodes))


def _database(directory: Path, service: str) -> DatabaseNode:
    part = DATABASE_OF[service]
    return DatabaseNode(
        directory / "mongodb" / part,
        log=directory / "logs" / f"{part}.log",
        passwords=named_or_made([service, AUDITOR], MONGODB, {}),
        databases={service: read(SPECS[service].settings).database},
        name=part,
    )


def _single_parts(part: str) -> Sequence[str]:
    """Return the parts that a fault hits, always in the same order, in which their locks are taken."""
    return [*DATABASE_OF.values()] if part == DATABASES else [part]


def _affected(part: str) -> Sequence[str]:
    """Return the services that a fault of a part affects."""
    if part in SERVICES:
        return [part]
    return [_USER_OF[part]] if part in _USER_OF else SERVICES


def _port(url: str) -> int:
    return urlsplit(url).port or 0


def _through(url: str, proxy: Proxy) -> str:
    return url.replace(f":{_port(url)}", f":{proxy.port}", 1)
