"""The whole system on this machine: the broker, each service and each service's database, as processes."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol, Self, TextIO
from urllib.parse import urlsplit

import httpx

from events.catalogue import INVENTORY, ORDER, PAYMENT, SERVICES, short_name
from local_stack.mongodb_node import DatabaseNode
from local_stack.process import Child, ProcessFailed, free_port, wait_until
from local_stack.rabbitmq_container import BrokerContainer, docker_answers
from local_stack.rabbitmq_node import BrokerNode
from local_stack.rabbitmq_probe import (
    DEFAULT_AMQP_PORT,
    DEFAULT_MANAGEMENT_PORT,
    BrokerUrls,
    find_broker,
)
from local_stack.rabbitmq_programs import is_installed
from local_stack.state import forget_endpoints, take_lock, write_endpoints
from operations.access.broker_definitions import users
from operations.access.database_users import AUDITOR
from operations.access.passwords import MONGODB, RABBITMQ, named_or_made, url_variable
from operations.endpoints import Endpoints, management_url
from operations.registry import SPECS, TOPOLOGIES

SERVICE_START_LIMIT = 60.0
SERVICE_STOP_LIMIT = 15.0
"""Seconds a service may take to become ready, and to finish its work at a stop."""

SECRET = tuple(f"_{server}_{kind}" for server in (RABBITMQ, MONGODB) for kind in ("URL", "PASSWORD"))
"""The endings of variables for one service or for the command line, which not every service gets."""

WATCH_INTERVAL = 0.5
"""Seconds between two checks that every process still runs."""


class Node(Protocol):
    """The interface that `BrokerNode`, `BrokerContainer` and `DatabaseNode` share."""

    @property
    def children(self) -> tuple[Child, ...]: ...
    def start(self) -> None: ...
    def wait_ready(self) -> None: ...
    def stop(self) -> None: ...


class Stack:
    """The services, with a private broker and a private database each unless the environment names others.

    `env` adds to this process's environment, for the services and for the choices made here: RABBITMQ_URL,
    RABBITMQ_MANAGEMENT_URL, MONGODB_URL, the ports, SAGA_STATE. Nothing happens before `start`. Use it as a
    context manager, or call `stop` even if `start` has failed. Any thread may use it, one at a time.

    At the private broker and databases, each service logs in as itself. At a named one, all services use the
    named URL, except a service with a URL of its own, as in ORDER_RABBITMQ_URL or PAYMENT_MONGODB_URL. No
    service gets the login of another.
    """

    def __init__(
        self,
        state_dir: Path | None = None,
        *,
        env: Mapping[str, str] | None = None,
        logs_to_stderr: bool = False,
    ) -> None:
        """`logs_to_stderr` sends the services' logs there instead of to files in `logs_dir`."""
        self._env = {**os.environ, **(env or {})}
        self.state_dir = (state_dir or Path(self._env.get("SAGA_STATE") or ".saga")).resolve()
        self._logs_to_stderr = logs_to_stderr
        self._lock: TextIO | None = None
        self._endpoints: Endpoints | None = None
        self._services: dict[str, Child] = {}
        self._replicas: list[Child] = []
        self.broker: BrokerNode | BrokerContainer | None = None
        """The private broker, None if another one is used."""
        self.databases: dict[str, DatabaseNode] = {}
        """The private databases, by service; none for a service whose database the environment names."""

    @property
    def endpoints(self) -> Endpoints:
        """The URLs of all parts.

        Raises:
            RuntimeError: the stack has not been started.
        """
        if self._endpoints is None:
            raise RuntimeError("the stack has not been started")
        return self._endpoints

    @property
    def logs_dir(self) -> Path:
        """The directory with a log file for each process."""
        return self.state_dir / "logs"

    @property
    def children(self) -> list[Child]:
        """Every process of the stack."""
        services = [*self._services.values(), *self._replicas]
        return [*services, *(child for node in self._nodes for child in node.children)]

    def start(self, report: Callable[[str], None] = lambda _: None) -> Endpoints:
        """Start what is missing and return once all of it is ready; `report` gets a line for each step.

        Raises:
            ProcessFailed: a part could not be started, or the state directory is in use; call `stop` too.
        """
        self._lock = take_lock(self.state_dir)
        forget_endpoints(self.state_dir)
        self._endpoints = self._plan(self._choose_broker(), self._choose_databases())
        report(f"starting {' and '.join(self._private_parts()) or 'the services'}")
        _at_once(node.start for node in self._nodes)
        for node in self._nodes:
            node.wait_ready()
        report("starting the services")
        self._services = {name: self._service(name, name, {}) for name in SERVICES}
        for child in self._services.values():
            child.start()
        for name in SERVICES:
            self._wait_service(name)
        write_endpoints(self.state_dir, self.endpoints)
        return self.endpoints

    def stop(self) -> None:
        """Stop the services, which finish the work they have begun, then the broker and the databases."""
        if self._lock is None:
            return
        forget_endpoints(self.state_dir)
        services = [*self._services.values(), *self._replicas]
        _at_once(partial(child.stop, SERVICE_STOP_LIMIT) for child in services)
        _at_once(node.stop for node in self._nodes)
        self._services, self._replicas, self.broker, self.databases = {}, [], None, {}
        self._lock.close()
        self._lock = None

    def service(self, name: str) -> Child:
        """Return the process of a service (`order_service`, ...), to kill it or to send it a signal."""
        return self._services[name]

    def start_service(self, name: str) -> None:
        """Start a service again that was stopped or killed, and wait until it is ready."""
        self._services[name].start()
        self._wait_service(name)

    def start_replica(self, name: str) -> str:
        """Start another process of a service, which shares its work, and return its URL once it is ready."""
        url = f"http://127.0.0.1:{free_port()}"
        variable = SPECS[name].port_variable
        child = self._service(name, f"{name}-{len(self._replicas) + 2}", {variable: _port(url)})
        self._replicas.append(child)
        child.start()
        _wait_ready(child, url)
        return url

    def check(self) -> None:
        """Check that every process of the stack still runs.

        Raises:
            ProcessFailed: one has ended; has the end of its log.
        """
        for child in self.children:
            if not child.alive:
                raise ProcessFailed(child.describe_end())

    def watch(self) -> None:
        """Check the processes until one has ended.

        Raises:
            ProcessFailed: see `check`.
        """
        while True:
            self.check()
            time.sleep(WATCH_INTERVAL)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def _nodes(self) -> list[Node]:
        return [*([self.broker] if self.broker else []), *self.databases.values()]

    def _private_parts(self) -> list[str]:
        named = {"RabbitMQ": self.broker, "the databases": self.databases}
        return [name for name, private in named.items() if private]

    def _choose_broker(self) -> BrokerUrls:
        if url := self._env.get("RABBITMQ_URL"):
            return BrokerUrls(url, self._env.get("RABBITMQ_MANAGEMENT_URL") or management_url(url))
        if found := find_broker():
            return found
        kind = BrokerContainer if not is_installed() and docker_answers() else BrokerNode
        passwords = named_or_made(users(TOPOLOGIES.values()), RABBITMQ, self._env)
        self.broker = kind(
            self.state_dir / "rabbitmq",
            amqp_port=free_port(DEFAULT_AMQP_PORT),
            management_port=free_port(DEFAULT_MANAGEMENT_PORT),
            log=self.logs_dir / "rabbitmq.log",
            passwords=passwords,
        )
        return BrokerUrls(self.broker.url, self.broker.management_url)

    def _choose_databases(self) -> dict[str, str]:
        """Return the URL of each service's database, for the `saga` command."""
        named = {name: self._env.get(url_variable(name, MONGODB)) for name in SERVICES}
        one_for_all = self._env.get("MONGODB_URL")
        passwords = named_or_made([*SERVICES, AUDITOR], MONGODB, self._env)
        self.databases = {
            name: self._database(name, passwords) for name, own in named.items() if not (own or one_for_all)
        }
        private = {name: node.url_of(AUDITOR) for name, node in self.databases.items()}
        return {name: own or one_for_all or private[name] for name, own in named.items()}

    def _database(self, service: str, passwords: Mapping[str, str]) -> DatabaseNode:
        name = short_name(service)
        return DatabaseNode(
            self.state_dir / "mongodb" / name,
            log=self.logs_dir / f"mongodb-{name}.log",
            passwords={user: passwords[user] for user in (service, AUDITOR)},
            databases={service: self._env.get(f"{SPECS[service].env_prefix}DATABASE") or service},
            name=f"the {name} database",
        )

    def _plan(self, broker: BrokerUrls, mongodb: Mapping[str, str]) -> Endpoints:
        return Endpoints(
            order=self._service_url(ORDER),
            inventory=self._service_url(INVENTORY),
            payment=self._service_url(PAYMENT),
            rabbitmq=broker.url,
            management=broker.management_url,
            order_mongodb=mongodb[ORDER],
            inventory_mongodb=mongodb[INVENTORY],
            payment_mongodb=mongodb[PAYMENT],
        )

    def _service_url(self, name: str) -> str:
        spec = SPECS[name]
        port = self._env.get(spec.port_variable) or free_port(spec.port)
        return f"http://127.0.0.1:{port}"

    def _service(self, name: str, log_name: str, settings: Mapping[str, str]) -> Child:
        ports = {spec.port_variable: _port(self.endpoints.of(one)) for one, spec in SPECS.items()}
        others = {key: value for key, value in self._env.items() if not key.endswith(SECRET)}
        env = others | {
            "RABBITMQ_URL": self._broker_url(name),
            "MONGODB_URL": self._database_url(name),
            **ports,
            **settings,
        }
        log = None if self._logs_to_stderr else self.logs_dir / f"{log_name}.log"
        return Child(log_name, [sys.executable, "-m", name], env=env, log=log)

    def _broker_url(self, name: str) -> str:
        if self.broker is not None:
            return self.broker.url_of(name)
        return self._env.get(url_variable(name, RABBITMQ)) or self.endpoints.rabbitmq

    def _database_url(self, name: str) -> str:
        if name in self.databases:
            return self.databases[name].url_of(name)
        return self.endpoints.mongodb_of(name)

    def _wait_service(self, name: str) -> None:
        _wait_ready(self._services[name], self.endpoints.of(name))


def _at_once(actions: Iterable[Callable[[], None]]) -> None:
    with ThreadPoolExecutor() as pool:
        for running in [pool.submit(action) for action in actions]:
            running.result()


def _port(url: str) -> str:
    return str(urlsplit(url).port)


def _wait_ready(child: Child, base: str) -> None:
    url = f"{base}/readyz"
    # Without trust_env: a proxy for the internet does not lead to this machine.
    with httpx.Client(timeout=3, trust_env=False) as client:
        what = f"{child.name} is ready at {url}"
        wait_until(lambda: _is_ready(client, url), SERVICE_START_LIMIT, what, child)


def _is_ready(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
