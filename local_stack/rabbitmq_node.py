"""RabbitMQ for the local stack: a private node made from an installed RabbitMQ, or one that runs already."""

import json
import os
import secrets
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import httpx

from local_stack.process import Child, ProcessFailed, free_port, wait_until
from operations.access.broker_definitions import definitions
from operations.registry import TOPOLOGIES
from saga.messaging.users import OPERATOR

START_LIMIT = 90.0
"""Seconds a node may take to start. Six to nine on two cores, nearly all computing: Erlang loads its code."""

STOP_LIMIT = 15.0
"""Seconds a node may take to stop. RabbitMQ 3.10 takes six, five of them a time-out of its event manager."""

DEFAULT_AMQP_PORT = 5672
DEFAULT_MANAGEMENT_PORT = 15672

"""Queues whose consumers show that another stack uses a broker."""

NODE_NAME = "saga@localhost"
"""The name of every private node: no two share a port mapper, and data belongs to a name."""

USUAL_PLACES = (
    Path("/usr/lib/rabbitmq/bin"),  # Debian, Ubuntu, Fedora
    Path("/opt/rabbitmq/sbin"),  # the Docker image
    Path("/opt/homebrew/opt/rabbitmq/sbin"),
    Path("/usr/local/opt/rabbitmq/sbin"),
)

NOT_INSTALLED = (
    "RabbitMQ is not installed: {missing} was not found. Install it (Debian, Ubuntu: `scripts/setup --system "
    "rabbitmq-server` as root; macOS: `brew install rabbitmq`), start Docker, or name a running one, as in "
    "RABBITMQ_URL=amqp://guest:guest@localhost:5672/"
)

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
"""The user that RabbitMQ makes by itself, where no definitions are loaded."""

PLUGINS = "[rabbitmq_management,rabbitmq_consistent_hash_exchange].\n"


class Broker(NamedTuple):
    """Where a RabbitMQ is: its AMQP URL with user and password, and its management URL without."""

    url: str
    management_url: str


class BrokerNode:
    """A RabbitMQ node of our own, with all its files below one directory, listening on 127.0.0.1 only.

    It shares nothing with other nodes on the machine, nor Erlang's port mapper. Stop or kill it and start it
    again: ports and data stay. ProcessFailed when RabbitMQ is not installed.

    `passwords` are those of the users that it is to have, each with its own rights
    (`operations.access.broker_definitions`). Without, there is guest/guest, who may do everything.
    `extra_config` are more lines of its configuration.
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
        epmd = [_find_program("epmd"), "-port", str(self._epmd_port), "-address", "127.0.0.1"]
        self._epmd = Child("RabbitMQ's port mapper (epmd)", epmd, env=self._environment(), log=log)
        self._server = Child("RabbitMQ", [str(find_server())], env=self._environment(), log=log)

    @property
    def url(self) -> str:
        """The AMQP URL, with user and password: the operator's, or guest's where there are no others."""
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
        """Start the processes; `wait_ready` tells when it can be used. ProcessFailed when it runs already."""
        self._write_files()
        if not self._epmd.alive:
            self._epmd.start()
        # The server, finding no port mapper, would start one of its own, which would outlive it.
        wait_until(lambda: _accepts(self._epmd_port), 10, "epmd accepts connections", self._epmd)
        self._server.start()

    def wait_ready(self) -> None:
        """Return once AMQP and the management API answer; ProcessFailed when the server ends or stalls."""
        wait_for_broker(self.url, self.management_url, self._server)

    def stop(self) -> None:
        """Shut the node down in order, with a limit."""
        self._server.stop(STOP_LIMIT)
        self._epmd.kill()

    def kill(self) -> None:
        """End the node with SIGKILL."""
        self._server.kill()
        self._epmd.kill()

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

    def _environment(self) -> Mapping[str, str]:
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


def write_definitions(file: Path, passwords: Mapping[str, str]) -> None:
    """Write the definitions of the production services, with the users of these passwords."""
    # What the node that reads it runs as may be somebody else, in a container; the directory is ours alone.
    file.write_text(json.dumps(definitions(TOPOLOGIES.values(), passwords)))


def wait_for_broker(url: str, management_url: str, server: Child, limit: float = START_LIMIT) -> None:
    """Return once AMQP and the management API answer; ProcessFailed when the server ends or takes too
    long."""
    at = urlsplit(url)
    with _management(management_url, at.username or "", unquote(at.password or "")) as api:
        wait_until(
            lambda: _get(api, "/api/whoami") is not None and _speaks_amqp("127.0.0.1", at.port or 0),
            limit,
            f"RabbitMQ answers at {management_url} and on port {at.port}",
            server,
        )


def is_installed() -> bool:
    """Whether a private node can be made here."""
    try:
        find_server()
        _find_program("epmd")
    except ProcessFailed:
        return False
    return True


def find_server() -> Path:
    """RabbitMQ's own start script; ProcessFailed, saying what to install, when there is none.

    Never the wrapper in /usr/sbin, which changes the user and swallows signals: the real script has
    `rabbitmq-env` beside it.
    """
    places = list(USUAL_PLACES)
    if control := shutil.which("rabbitmqctl"):
        places.append(Path(control).resolve().parent)
    for place in places:
        if (place / "rabbitmq-env").exists() and (place / "rabbitmq-server").exists():
            return place / "rabbitmq-server"
    raise ProcessFailed(NOT_INSTALLED.format(missing="rabbitmq-server"))


def find_broker() -> Broker | None:
    """The RabbitMQ on this machine's default ports, if guest/guest may use it and no other stack does.

    That is: AMQP on localhost:5672 and the management API on 15672 answer, it is no stack's private node, and
    in the virtual host / none of the services' queues has a consumer. Statistics lag: it is seen up to
    five seconds late.
    """
    management_url = f"http://localhost:{DEFAULT_MANAGEMENT_PORT}"
    if not _speaks_amqp("localhost", DEFAULT_AMQP_PORT):
        return None
    with _management(management_url) as api:
        overview = _get(api, "/api/overview")
        consumers = _get(api, "/api/consumers/%2F")
    if overview is None or overview["node"] == NODE_NAME or consumers is None:
        return None
    if any(consumer["queue"]["name"] in TOPOLOGIES for consumer in consumers):
        return None
    return Broker(f"amqp://guest:guest@localhost:{DEFAULT_AMQP_PORT}/", management_url)


def _find_program(name: str) -> str:
    # Erlang's programs are not always on the PATH, but always beside `erl`, wherever its link leads.
    erl = shutil.which("erl")
    beside = str(Path(erl).resolve().parent) if erl else None
    program = shutil.which(name) or shutil.which(name, path=beside)
    if erl is None or program is None:
        raise ProcessFailed(NOT_INSTALLED.format(missing=f"Erlang's {name}"))
    return program


def _management(url: str, user: str = "guest", password: str = "guest") -> httpx.Client:  # noqa: S107
    # Without trust_env: a proxy for the internet does not lead to this machine.
    return httpx.Client(base_url=url, auth=(user, password), timeout=3, trust_env=False)


def _get(api: httpx.Client, path: str) -> Any:
    """The JSON answer, None when there is none or it is an error."""
    try:
        response = api.get(path)
        return response.raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return None


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _speaks_amqp(host: str, port: int) -> bool:
    """Whether an AMQP 0-9-1 server answers to a client's greeting with its own (a method frame, type 1)."""
    try:
        with socket.create_connection((host, port), timeout=1) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False
