"""The system of compose.yaml as throwaway containers, in a project, on networks and volumes of its own."""

import json
import os
import secrets
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from docker.errors import APIError
from docker.models.containers import Container as Handle
from testcontainers.compose import DockerCompose
from testcontainers.core.docker_client import DockerClient

from local_stack.process import free_port, wait_until
from operations.endpoints import DATABASES, Endpoints

ROOT = Path(__file__).parents[2]
FILES = ["compose.yaml", "tests/e2e/compose.tests.yaml"]

CONTAINERS = {"order_service": "order", "inventory_service": "inventory", "payment_service": "payment"}
"""For each service the name of its container."""

COMMAND_LIMIT = 300.0
PAUSE_LIMIT = 60.0
"""Seconds that a command may take."""

READY_LIMIT = 90.0
"""Seconds a container may take to become healthy."""


class Container:
    """One container of a project, which a test can fail."""

    def __init__(self, project: str, name: str) -> None:
        self._project = project
        self._name = name

    def kill(self) -> None:
        """Kill its processes with SIGKILL."""
        self._handle.kill()

    def start(self) -> None:
        """Start it again."""
        self._handle.start()

    def restart(self) -> None:
        """Stop it gracefully, within a limit, and start it again."""
        self._handle.restart(timeout=10)

    def wait_ready(self) -> None:
        """Return once it is healthy; ProcessFailed when that takes too long."""
        wait_until(
            lambda: self._handle.attrs["State"].get("Health", {}).get("Status") == "healthy",
            READY_LIMIT,
            f"the container {self._name} is healthy",
        )

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Freeze all its processes."""
        wait_until(self._pause, PAUSE_LIMIT, f"{self._name} is paused")
        try:
            yield
        finally:
            self._handle.unpause()

    def _pause(self) -> bool:
        try:
            self._handle.pause()
        except APIError as error:
            # Docker gives up on a busy machine, before the kernel has stopped every thread.
            if "unable to freeze" not in str(error):
                raise
            return False
        return True

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Disconnect it from the network; its processes keep running."""
        network = DockerClient().client.networks.get(f"{self._project}_default")
        handle = self._handle
        network.disconnect(handle)
        try:
            yield
        finally:
            network.connect(handle, aliases=[self._name])

    def inspect(self) -> dict[str, Any]:
        """Return what the Docker engine reports about it."""
        return dict(self._handle.attrs)

    def run(self, *command: str) -> str:
        """Run a command in it; AssertionError, with what it printed, when it fails."""
        code, output = self._handle.exec_run(list(command))
        assert code == 0, output.decode()
        return str(output.decode())

    @property
    def _handle(self) -> Handle:
        labels = [f"com.docker.compose.project={self._project}", f"com.docker.compose.service={self._name}"]
        (found,) = DockerClient().client.containers.list(all=True, filters={"label": labels})
        return found


class ContainerStack:
    """The containers of the system, with the methods of `local_stack.stack.Stack`."""

    databases: Mapping[str, str] = {
        name.upper() + "_DATABASE": f"{name}_service" for name in CONTAINERS.values()
    }
    """The names of the databases, by the setting that names them."""

    def __init__(self, directory: Path) -> None:
        self._project = f"saga-test-{uuid4().hex[:8]}"
        names = ("ORDER", "INVENTORY", "PAYMENT", "RABBITMQ", "RABBITMQ_MANAGEMENT", "MONGODB")
        self._ports = {f"{name}_PORT": str(free_port()) for name in names}
        self.token = os.environ.get("SAGA_TOKEN") or secrets.token_hex(24)
        settings = {"COMPOSE_PROJECT_NAME": self._project, "SAGA_TOKEN": self.token, **self._ports}
        file = directory / "compose.env"
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        self._compose = DockerCompose(ROOT, FILES, build=True, env_file=str(file))

    @property
    def endpoints(self) -> Endpoints:
        """Where everything is, from this machine."""
        at = {name: f"127.0.0.1:{port}" for name, port in self._ports.items()}
        broker_password = os.environ.get("OPERATOR_RABBITMQ_PASSWORD", "development")
        database_password = os.environ.get("AUDITOR_MONGODB_PASSWORD", "development")
        options = "authSource=admin&directConnection=true" + os.environ.get("MONGODB_OPTIONS", "")
        mongodb = f"mongodb://auditor:{database_password}@{at['MONGODB_PORT']}/?{options}"
        return Endpoints(
            order=f"http://{at['ORDER_PORT']}",
            inventory=f"http://{at['INVENTORY_PORT']}",
            payment=f"http://{at['PAYMENT_PORT']}",
            rabbitmq=f"amqp://operator:{broker_password}@{at['RABBITMQ_PORT']}/",
            management=f"http://{at['RABBITMQ_MANAGEMENT_PORT']}",
            **dict.fromkeys(DATABASES, mongodb),
        )

    def start(self) -> Endpoints:
        """Build the image if need be, start everything and return when it is healthy."""
        try:
            self._compose.start()
        except subprocess.CalledProcessError as error:
            raise AssertionError(f"{error}\n{error.stderr.decode()}\n{self._compose.get_logs()[0]}") from None
        return self.endpoints

    def stop(self) -> None:
        """Remove everything, the volumes too."""
        self._compose.stop()

    def down(self) -> None:
        """Remove everything but the volumes."""
        self._command("down")

    def saga(self, *arguments: str) -> str:
        """Run the `saga` command as the documentation says; return what it prints."""
        return self._command("run", "--rm", "saga", *arguments)

    def part(self, name: str) -> Container:
        """Return one container: `rabbitmq`, `mongodb`, `order`, `inventory`, `payment`."""
        return Container(self._project, name)

    def service(self, name: str) -> Container:
        """Return the container of a service (`order_service`, ...)."""
        return self.part(CONTAINERS[name])

    def start_service(self, name: str) -> None:
        """Start a service again that was stopped or killed, and wait until it is ready."""
        self.service(name).start()
        self.service(name).wait_ready()

    def _command(self, *arguments: str) -> str:
        return run([*self._compose.docker_compose_command(), *arguments])


def documented() -> dict[str, Any]:
    """Return the configuration in compose.yaml, without the additions of the tests."""
    command = ["docker", "compose", "--file", "compose.yaml", "config", "--format", "json"]
    return dict(json.loads(run(command)))


def run(command: Sequence[str]) -> str:
    """Run a command at the top of the repository; AssertionError, with what it printed, when it fails."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=COMMAND_LIMIT,
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stdout}\n{done.stderr}"
    return done.stdout
