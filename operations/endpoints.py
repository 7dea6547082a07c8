"""Where the services and the broker are: by environment, by a running `saga up`, or by default."""

import fcntl
import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from events.catalogue import INVENTORY, ORDER, PAYMENT
from operations.errors import CommandFailed
from operations.registry import SPECS
from saga.tls import broker_url, check_ca_file, database_url

ENDPOINTS_FILE = "endpoints.json"
"""The file with the endpoints of a running stack; only its owner can read it."""
LOCK_FILE = "lock"
"""Locked for as long as a stack runs."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The URLs of a stack: three HTTP APIs, AMQP, the broker's management API, MongoDB."""

    order: str
    inventory: str
    payment: str
    rabbitmq: str
    management: str
    mongodb: str

    def of(self, service: str) -> str:
        """Return the URL of a service's HTTP API."""
        return {ORDER: self.order, INVENTORY: self.inventory, PAYMENT: self.payment}[service]


def running_endpoints(state_dir: Path) -> Endpoints | None:
    """Return the endpoints of the stack that runs in a state directory, None if none runs."""
    try:
        text = (state_dir / ENDPOINTS_FILE).read_text()
        with (state_dir / LOCK_FILE).open() as lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None  # No process holds the lock: the stack was killed and left its file behind.
    except FileNotFoundError:
        return None
    return Endpoints(**json.loads(text))


VARIABLES = {
    "order": "ORDER_URL",
    "inventory": "INVENTORY_URL",
    "payment": "PAYMENT_URL",
    "rabbitmq": "RABBITMQ_URL",
    "management": "RABBITMQ_MANAGEMENT_URL",
    "mongodb": "MONGODB_URL",
}
"""The environment variable that names each endpoint."""

DEFAULTS = Endpoints(
    order=f"http://127.0.0.1:{SPECS[ORDER].port}",
    inventory=f"http://127.0.0.1:{SPECS[INVENTORY].port}",
    payment=f"http://127.0.0.1:{SPECS[PAYMENT].port}",
    rabbitmq="amqp://guest:guest@127.0.0.1:5672/",
    management="http://127.0.0.1:15672",
    mongodb="mongodb://127.0.0.1:27017/",
)
MANAGEMENT_PORT = 15672
DEFAULT_STATE = ".saga"


@dataclass(frozen=True, slots=True)
class BrokerLogin:
    """The user, the password and the virtual host of an AMQP URL."""

    user: str
    password: str
    vhost: str


def find(environment: Mapping[str, str] = os.environ) -> Endpoints:
    """Return every endpoint: the environment's, else those of a running `saga up`, else the defaults.

    Raises:
        CommandFailed: RABBITMQ_CA_FILE or MONGODB_CA_FILE cannot be used.
    """
    known = running_endpoints(state_directory(environment)) or DEFAULTS
    named = {name: environment[key].rstrip("/") for name, key in VARIABLES.items() if environment.get(key)}
    if "rabbitmq" in named:
        named["rabbitmq"] = environment["RABBITMQ_URL"]  # Its last slash belongs to the virtual host.
        named.setdefault("management", management_url(named["rabbitmq"]))
    found = replace(known, **named)
    return replace(
        found,
        rabbitmq=_with_authorities(broker_url, found.rabbitmq, "RABBITMQ_CA_FILE", environment),
        mongodb=_with_authorities(database_url, found.mongodb, "MONGODB_CA_FILE", environment),
    )


def named_by_environment(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the environment says where the services are."""
    return any(environment.get(VARIABLES[service]) for service in ("order", "inventory", "payment"))


def state_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where `saga up` keeps its state: SAGA_STATE, else `.saga` here."""
    return Path(environment.get("SAGA_STATE") or DEFAULT_STATE)


def broker_login(amqp_url: str) -> BrokerLogin:
    """Return user, password and virtual host of an AMQP URL, with the broker's own defaults."""
    parts = urlsplit(amqp_url)
    vhost = unquote(parts.path.removeprefix("/")) or "/"
    return BrokerLogin(unquote(parts.username or "guest"), unquote(parts.password or "guest"), vhost)


def without_password(url: str) -> str:
    """Return a URL without its password, unless it is RabbitMQ's well-known guest."""
    return url if "://guest:guest@" in url else re.sub(r"(://[^:/@]*):[^/]*@", r"\1:***@", url)


def management_url(amqp_url: str) -> str:
    """Return the default URL of the management API of a broker."""
    return f"http://{urlsplit(amqp_url).hostname or '127.0.0.1'}:{MANAGEMENT_PORT}"


def login_hint(amqp_url: str) -> str:
    """Return the user who can log in at the management UI, and the password only if it is well known."""
    login = broker_login(amqp_url)
    if login.password == "guest":  # noqa: S105
        return "user guest, password guest"
    running = running_endpoints(state_directory())
    if running and running.rabbitmq == amqp_url:
        return f"user {login.user}, password in {state_directory() / ENDPOINTS_FILE}"
    return f"user {login.user}"


def _with_authorities(
    url_with: Callable[[str, Path | None], str], url: str, variable: str, environment: Mapping[str, str]
) -> str:
    """Return a URL with the CA bundle that a variable names, if it is set."""
    if not (name := environment.get(variable)):
        return url
    try:
        return url_with(url, check_ca_file(Path(name)))
    except ValueError as error:
        raise CommandFailed(f"{variable} {error}") from None
