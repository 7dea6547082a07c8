"""RabbitMQ as a container, for a machine that has a Docker engine and no RabbitMQ."""

import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from local_stack.process import Child
from local_stack.rabbitmq_node import LOAD_DEFINITIONS, STOP_LIMIT, write_definitions
from local_stack.rabbitmq_probe import DEFAULT_AMQP_PORT, DEFAULT_MANAGEMENT_PORT, wait_for_broker
from saga.messaging.users import OPERATOR

IMAGE = "rabbitmq:4.2-management"
"""Unless RABBITMQ_IMAGE names another."""

START_LIMIT = 600.0
"""Seconds until it answers: the first start fetches the image."""

FILES = {
    "definitions.json": "/etc/rabbitmq/definitions.json",
    "load.conf": "/etc/rabbitmq/conf.d/90-definitions.conf",
}
"""The files below its directory, and where they are mounted in the container."""

DOCKER_LIMIT = 30.0
"""Seconds that Docker may take for a short command."""


class BrokerContainer:
    """The interface of `BrokerNode` for a container.

    A stop removes its queues; the services publish again what was in them.
    """

    def __init__(
        self,
        directory: Path,
        *,
        amqp_port: int,
        management_port: int,
        log: Path,
        passwords: Mapping[str, str],
    ) -> None:
        self._directory = directory
        self._amqp_port = amqp_port
        self._passwords = passwords
        self.management_url = f"http://127.0.0.1:{management_port}"
        # One name for each directory, so that the container of a killed stack is found and removed.
        self._name = f"saga-rabbitmq-{hashlib.sha256(str(directory).encode()).hexdigest()[:8]}"
        ports = {amqp_port: DEFAULT_AMQP_PORT, management_port: DEFAULT_MANAGEMENT_PORT}
        publish = [f"--publish=127.0.0.1:{outside}:{inside}" for outside, inside in ports.items()]
        image = os.environ.get("RABBITMQ_IMAGE") or IMAGE
        mounts = [f"--volume={directory / name}:{place}:ro" for name, place in FILES.items()]
        argv = ["docker", "run", "--rm", f"--name={self._name}", *publish, *mounts, image]
        self._server = Child("RabbitMQ in Docker", argv, log=log)

    @property
    def url(self) -> str:
        """The AMQP URL with user and password: the operator's."""
        return self.url_of(OPERATOR)

    def url_of(self, user: str) -> str:
        """The AMQP URL of one of its users."""
        return f"amqp://{user}:{quote(self._passwords[user], safe='')}@127.0.0.1:{self._amqp_port}/"

    @property
    def children(self) -> tuple[Child, ...]:
        """The process that is attached to the container."""
        return (self._server,)

    def start(self) -> None:
        """Start the container, after fetching its image if it is missing."""
        self._remove()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_definitions(self._directory / "definitions.json", self._passwords)
        (self._directory / "load.conf").write_text(LOAD_DEFINITIONS.format(file=FILES["definitions.json"]))
        self._server.start()

    def wait_ready(self) -> None:
        """Return once AMQP and the management API answer; see `wait_for_broker`."""
        wait_for_broker(self.url, self.management_url, self._server, START_LIMIT)

    def stop(self) -> None:
        """Shut it down cleanly, with a limit, and remove it."""
        self._server.stop(STOP_LIMIT)
        self._remove()

    def _remove(self) -> None:
        subprocess.run(
            ["docker", "rm", "--force", "--volumes", self._name],
            capture_output=True,
            timeout=DOCKER_LIMIT,
            check=False,
        )


def docker_answers() -> bool:
    """Tell whether a Docker engine answers on this machine."""
    try:
        done = subprocess.run(["docker", "version"], capture_output=True, timeout=DOCKER_LIMIT, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
