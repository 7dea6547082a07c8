"""Where services, broker and databases are: by environment, by a running `saga up`, or by default."""

import fcntl
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from events.catalogue import INVENTORY, ORDER, PAYMENT
from operations.access.passwords import MONGODB, url_variable
from operations.errors import CommandFailed
from operations.registry import SPECS
from saga.tls import broker_url, check_ca_file, database_url

ENDPOINTS_FILE = "endpoints.json"
"""The file with the endpoints of a running stack; only its owner can read it."""
LOCK_FILE = "lock"
"""Locked for as long as a stack runs."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The URLs of a stack: three HTTP APIs, AMQP, the broker's management API, and each service's MongoDB.

    The three databases may be on one server, and then have one URL, or on a server each.
    """

    order: str
    inventory: str
    payment: str
    rabbitmq: str
    management: str
    order_mongodb: str
    inventory_mongodb: str
    payment_mongodb: str

    def of(self, service: str) -> str:
        """Return the URL of a service's HTTP API."""
        return {ORDER: self.order, INVENTORY: self.inventory, PAYMENT: self.payment}[service]

    def mongodb_of(self, service: str) -> str:
        """Return the URL of the server that has a service's database."""
        return self.mongodb_by_service[service]

    @property
    def mongodb_by_service(self) -> dict[str, str]:
        """The URL of the server that has each service's database."""
        return {
            ORDER: self.order_mongodb,
            INVENTORY: self.inventory_mongodb,
            PAYMENT: self.payment_mongodb,
        }


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


VARIABLES: Mapping[str, Sequence[str]] = {
    "order": ["ORDER_URL"],
    "inventory": ["INVENTORY_URL"],
    "payment": ["PAYMENT_URL"],
    "rabbitmq": ["RABBITMQ_URL"],
    "management": ["RABBITMQ_MANAGEMENT_URL"],
    "order_mongodb": [url_variable(ORDER, MONGODB), "MONGODB_URL"],
    "inventory_mongodb": [url_variable(INVENTORY, MONGODB), "MONGODB_URL"],
    "payment_mongodb": [url_variable(PAYMENT, MONGODB), "MONGODB_URL"],
}
"""The environment variables that name each endpoint; the first that is set counts."""

DATABASES = ("order_mongodb", "inventory_mongodb", "payment_mongodb")
DEFAULT_MONGODB = "mongodb://127.0.0.1:27017/"

DEFAULTS = Endpoints(
    order=f"http://127.0.0.1:{SPECS[ORDER].port}",
    inventory=f"http://127.0.0.1:{SPECS[INVENTORY].port}",
    payment=f"http://127.0.0.1:{SPECS[PAYMENT].port}",
    rabbitmq="amqp://guest:guest@127.0.0.1:5672/",
    management="http://127.0.0.1:15672",
    **dict.fromkeys(DATABASES, DEFAULT_MONGODB),
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
    named = {name: url.rstrip("/") for name in VARIABLES if (url := _named(name, environment))}
    if "rabbitmq" in named:
        named["rabbitmq"] = environment["RABBITMQ_URL"]  # Its last slash belongs to the virtual host.
        named.setdefault("management", management_url(named["rabbitmq"]))
    found = replace(known, **named)
    return replace(
        found,
        rabbitmq=_with_authorities(broker_url, found.rabbitmq, "RABBITMQ_CA_FILE", environment),
        **{
            name: _with_authorities(database_url, getattr(found, name), "MONGODB_CA_FILE", environment)
            for name in DATABASES
        },
    )


def named_by_environment(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the environment says where the services are."""
    return any(_named(service, environment) for service in ("order", "inventory", "payment"))


def databases_named_by_environment(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the environment says where all three databases are."""
    return all(_named(database, environment) for database in DATABASES)


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


def _named(endpoint: str, environment: Mapping[str, str]) -> str:
    """Return the URL that the environment names for an endpoint, empty if it names none."""
    return next((url for name in VARIABLES[endpoint] if (url := environment.get(name))), "")


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
