"""RabbitMQ for the local stack: a private node made from an installed RabbitMQ."""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from local_stack.process import Child, free_port, wait_until
from local_stack.rabbitmq_probe import NODE_NAME, accepts, wait_for_broker
from local_stack.rabbitmq_programs import find_epmd, find_server
from operations.access.broker_definitions import definitions
from operations.registry import TOPOLOGIES
from saga.messaging.users import OPERATOR

STOP_LIMIT = 15.0
"""Seconds a node may take to stop. RabbitMQ 3.10 takes six, five of them a time-out of its event manager."""

CONFIG = """\
listeners.tcp.local = 127.0.0.1:{amqp}
loopback_users.guest = true
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
log.console = true
log.console.use_colors = off
log.file = false
# For a small machine: the defaults are made for one that has nothing else to do.
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 100MB
raft.wal_max_size_bytes = 67108864
"""

LOAD_DEFINITIONS = "load_definitions = {file}\n"
GUEST = {"guest": "guest"}
"""The user that RabbitMQ creates if it loads no definitions."""

PLUGINS = "[rabbitmq_management,rabbitmq_consistent_hash_exchange].\n"


class BrokerNode:
    """A private RabbitMQ node, with all its files below one directory, listening on 127.0.0.1 only.

    It shares nothing with other nodes on the machine, not even Erlang's port mapper. After a stop or a kill
    it can be started again, on the same ports and with its data.

    `passwords` are those of its users, each with its own rights (`operations.access.broker_definitions`);
    without, there is guest/guest, with all rights. `extra_config` is appended to its configuration.

    Raises:
        ProcessFailed: RabbitMQ is not installed.
    """

    def __init__(
        self,
        directory: Path,
        *,
        amqp_port: int | None = None,
        management_port: int | None = None,
        log: Path | None = None,
        passwords: Mapping[str, str] | None = None,
        extra_config: str = "",
    ) -> None:
        self._directory = directory.resolve()
        self._passwords = passwords
        self._extra_config = extra_config
        self._amqp_port = amqp_port or free_port()
        self._management_port = management_port or free_port()
        self._epmd_port = free_port()
        self._dist_port = free_port()
        log = log or self._directory / "rabbitmq.log"
        epmd = [find_epmd(), "-port", str(self._epmd_port), "-address", "127.0.0.1"]
        self._epmd = Child("RabbitMQ's port mapper (epmd)", epmd, env=self.environment(), log=log)
        self._server = Child("RabbitMQ", [str(find_server())], env=self.environment(), log=log)

    @property
    def url(self) -> str:
        """The AMQP URL with user and password: the operator's, or guest's on a node without users."""
        return self.url_of(OPERATOR if self._passwords else "guest")

    def url_of(self, user: str) -> str:
        """The AMQP URL of one of its users."""
        login = f"{user}:{quote((self._passwords or GUEST)[user], safe='')}"
        return f"amqp://{login}@127.0.0.1:{self._amqp_port}/"

    @property
    def management_url(self) -> str:
        """The base URL of the management UI and API, for the same users."""
        return f"http://127.0.0.1:{self._management_port}"

    @property
    def children(self) -> tuple[Child, ...]:
        """The processes of the node: the server, then the port mapper."""
        return (self._server, self._epmd)

    def start(self) -> None:
        """Start the processes; use the node after `wait_ready`.

        Raises:
            ProcessFailed: it is running already.
        """
        self._write_files()
        if not self._epmd.alive:
            self._epmd.start()
        # The server, finding no port mapper, would start one of its own, which would outlive it.
        wait_until(lambda: accepts(self._epmd_port), 10, "epmd accepts connections", self._epmd)
        self._server.start()

    def wait_ready(self) -> None:
        """Return once AMQP and the management API answer; see `wait_for_broker`."""
        wait_for_broker(self.url, self.management_url, self._server)

    def stop(self) -> None:
        """Shut the node down cleanly, with a limit."""
        self._server.stop(STOP_LIMIT)
        self._epmd.kill()

    def kill(self) -> None:
        """End the node with SIGKILL."""
        self._server.kill()
        self._epmd.kill()

    def environment(self) -> Mapping[str, str]:
        """Return the environment of the node, with which RabbitMQ's command line tools find it."""
        foreign = ("RABBITMQ_", "ERL_", "NOTIFY_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        directory = self._directory
        return inherited | {
            "HOME": str(directory),  # where Erlang looks for the cookie
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_CRASH_DUMP": str(directory / "erl_crash.dump"),
            "RABBITMQ_NODENAME": NODE_NAME,
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(directory),
            "RABBITMQ_MNESIA_DIR": str(directory / "data"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_SCHEMA_DIR": str(directory / "schema"),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
            # Files that need not exist: named, lest those of the system are read.
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "rabbitmq-env.conf"),
            "RABBITMQ_SCHEDULER_BIND_TYPE": "u",  # several nodes must not be bound to the same cores
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"
            ),
            # The script then becomes the server, instead of a shell that waits for it and cannot stop it.
            "detached": "1",
        }

    def _write_files(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = CONFIG.format(amqp=self._amqp_port, management=self._management_port) + self._extra_config
        if self._passwords:
            file = self._directory / "definitions.json"
            write_definitions(file, self._passwords)
            config += LOAD_DEFINITIONS.format(file=file)
        (self._directory / "rabbitmq.conf").write_text(config)
        (self._directory / "enabled_plugins").write_text(PLUGINS)
        cookie = self._directory / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(secrets.token_hex(16))


def write_definitions(file: Path, passwords: Mapping[str, str]) -> None:
    """Write the broker's definitions for all services, with users of these passwords."""
    # Readable by all, since a container's node runs as another user; only the owner can enter the directory.
    file.write_text(json.dumps(definitions(TOPOLOGIES.values(), passwords)))
