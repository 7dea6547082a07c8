"""Runs a single service as a process, with the test in the place of the others."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx

from local_stack.mongodb_node import DatabaseNode
from local_stack.process import Child, free_port, wait_until
from operations.registry import SPECS
from saga.messaging.topology import Topology
from tests.support.broker import LIMIT, Client, Neighbour, until

DELAYS = (0.1, 0.2)
"""Short pauses, in seconds, so that retries end within a test."""
NEVER = "7200"
"""Seconds after which a service that many tests share sends its nudges: later than all of them take."""

TOPOLOGIES: Mapping[str, Topology] = {name: spec.topology(DELAYS) for name, spec in SPECS.items()}


class ServiceProcess:
    """A service that runs alone: its process, and a client of its HTTP API."""

    def __init__(self, child: Child, http: httpx.Client, log: Path) -> None:
        self.child = child
        self.http = http
        self._log = log

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text()

    @property
    def ready(self) -> bool:
        """Whether it reports that it is ready."""
        try:
            return self.http.get("/readyz").is_success
        except httpx.HTTPError:
            return False

    @property
    def lives(self) -> bool:
        """Whether it answers."""
        try:
            return self.http.get("/healthz").is_success
        except httpx.HTTPError:
            return False

    async def says(self, *patterns: str) -> None:
        """Wait until it reports in one line, with all of these patterns in it, why it is not ready."""

        def said() -> bool:
            detail = self.http.get("/readyz").json().get("detail", "")
            return all(re.search(pattern, detail) for pattern in patterns) and "\n" not in detail

        await until(said, f"{self.child.name} says {patterns}")

    def wait_ready(self) -> None:
        """Return once the service is ready."""
        wait_until(lambda: self.ready, LIMIT, f"{self.child.name} is ready", self.child)


@contextmanager
def run_service(
    service: str, rabbitmq_url: str, mongodb_url: str, directory: Path, **settings: str
) -> Iterator[ServiceProcess]:
    """Run one service in a database of its own; it becomes ready once its neighbours are declared."""
    prefix = SPECS[service].env_prefix
    port = free_port()
    env = {
        **os.environ,
        "RABBITMQ_URL": rabbitmq_url,
        "MONGODB_URL": mongodb_url,
        f"{prefix}PORT": str(port),
        f"{prefix}DATABASE": f"{service}_{uuid4().hex[:12]}",
        f"{prefix}RETRY_DELAYS": ",".join(map(str, DELAYS)),
        **{f"{prefix}{name.upper()}": value for name, value in settings.items()},
    }
    log = directory / f"{service}.log"
    child = Child(service, [sys.executable, "-m", service], env=env, log=log)
    child.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as http:
            service_alone = ServiceProcess(child, http, log)
            wait_until(lambda: service_alone.lives, LIMIT, f"{service} answers", child)
            yield service_alone
    finally:
        child.stop(15)


@contextmanager
def database_server(directory: Path) -> Iterator[DatabaseNode]:
    """A database server that the caller may kill and start again."""
    node = DatabaseNode(directory)
    node.start()
    try:
        node.wait_ready()
        yield node
    finally:
        node.kill()


def check_problem(answer: httpx.Response, status: int, field: str | None = None) -> None:
    """Check that an answer is a problem document, and that it names the field."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    if field is not None:
        assert field in [error["field"] for error in problem["errors"]]
        assert field in problem["detail"]


async def stand_in_for_others(client: Client, service: str) -> dict[str, Neighbour]:
    """Take the parts of the two other services, once the one under test has declared its exchange.

    They receive only what the service under test publishes, not what the test publishes for them.
    """
    neighbours = {
        name: await client.stand_in_for(topology) for name, topology in TOPOLOGIES.items() if name != service
    }
    await client.channel.declare_exchange(TOPOLOGIES[service].exchange, "topic", durable=True)
    for neighbour in neighbours.values():
        await neighbour.bind(only_to=TOPOLOGIES[service].exchange)
    return neighbours
