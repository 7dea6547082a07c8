"""Publishing a message over the broker's management API, as an operator does in the management UI."""

from typing import Any
from urllib.parse import quote

import httpx

from operations.client import Json, unreachable
from operations.endpoints import Endpoints, broker_login
from operations.errors import CommandFailed


def publication(
    vhost: str, exchange: str, routing_key: str, payload: str, properties: dict[str, Any] | None = None
) -> tuple[str, Json]:
    """Return path and body of the request that publishes a message."""
    path = f"/api/exchanges/{quote(vhost, safe='')}/{quote(exchange, safe='')}/publish"
    message = {"routing_key": routing_key, "payload": payload, "payload_encoding": "string"}
    return path, {**message, "properties": properties or {}}


async def publish_manually(at: Endpoints, exchange: str, routing_key: str, payload: str) -> None:
    """Publish a message with nothing but a routing key and a payload, confirmed.

    Raises:
        CommandFailed: the broker cannot be reached or rejects the message, or no queue takes it.
    """
    login = broker_login(at.rabbitmq)
    path, message = publication(login.vhost, exchange, routing_key, payload)
    async with httpx.AsyncClient(auth=(login.user, login.password), trust_env=False) as http:
        try:
            answer = await http.post(at.management + path, json=message)
        except httpx.TransportError as error:
            raise CommandFailed(unreachable(at.management, error)) from None
    if not (answer.is_success and answer.json().get("routed")):
        raise CommandFailed(f"the broker's management API answered {answer.status_code}: {answer.text}")
