"""Whether a RabbitMQ answers: one that was just started, or one that runs on this machine already."""

import socket
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import httpx

from events.catalogue import SERVICES
from local_stack.process import Child, wait_until

START_LIMIT = 90.0
"""Seconds a node may take to start. Six to nine on two cores, nearly all computing: Erlang loads its code."""

DEFAULT_AMQP_PORT = 5672
DEFAULT_MANAGEMENT_PORT = 15672

NODE_NAME = "saga@localhost"
"""The name of every private node: no two share a port mapper, and data belongs to a name."""


class BrokerUrls(NamedTuple):
    """Where a RabbitMQ is: its AMQP URL with user and password, and its management URL without."""

    url: str
    management_url: str


def find_broker() -> BrokerUrls | None:
    """Return the RabbitMQ on this machine's default ports, if guest/guest may use it and no other stack does.

    That is: AMQP on localhost:5672 and the management API on 15672 answer, it is no stack's private node, and
    in the virtual host / none of the services' queues has a consumer. Statistics lag: a consumer is seen up
    to five seconds late.
    """
    management_url = f"http://localhost:{DEFAULT_MANAGEMENT_PORT}"
    if not _speaks_amqp("localhost", DEFAULT_AMQP_PORT):
        return None
    with _management(management_url) as api:
        overview = _get(api, "/api/overview")
        consumers = _get(api, "/api/consumers/%2F")
    if overview is None or overview["node"] == NODE_NAME or consumers is None:
        return None
    if any(consumer["queue"]["name"] in SERVICES for consumer in consumers):
        return None
    return BrokerUrls(f"amqp://guest:guest@localhost:{DEFAULT_AMQP_PORT}/", management_url)


def wait_for_broker(url: str, management_url: str, server: Child, limit: float = START_LIMIT) -> None:
    """Return once AMQP and the management API answer.

    Raises:
        ProcessFailed: the server has ended, or does not answer within `limit` seconds.
    """
    at = urlsplit(url)
    with _management(management_url, at.username or "", unquote(at.password or "")) as api:
        wait_until(
            lambda: _get(api, "/api/whoami") is not None and _speaks_amqp("127.0.0.1", at.port or 0),
            limit,
            f"RabbitMQ answers at {management_url} and on port {at.port}",
            server,
        )


def accepts(port: int) -> bool:
    """Tell whether a port of 127.0.0.1 accepts connections."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _management(url: str, user: str = "guest", password: str = "guest") -> httpx.Client:  # noqa: S107
    # Without trust_env: a proxy for the internet does not lead to this machine.
    return httpx.Client(base_url=url, auth=(user, password), timeout=3, trust_env=False)


def _get(api: httpx.Client, path: str) -> Any:
    """Return the JSON answer, None for an error or no answer."""
    try:
        response = api.get(path)
        return response.raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return None


def _speaks_amqp(host: str, port: int) -> bool:
    """Whether an AMQP 0-9-1 server answers to a client's greeting with its own (a method frame, type 1)."""
    try:
        with socket.create_connection((host, port), timeout=1) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False
