"""A virtual host of the broker, and what a test does to it from outside the product."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import aio_pika
import httpx
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage

from events.catalogue import Event
from events.codec import decode
from operations.endpoints import broker_login
from operations.manual_publishing import publication
from saga.messaging.topology import Topology, home_exchange
from saga.rabbitmq.connection import connect
from saga.rabbitmq.declare import declare_bound, declare_own

E = TypeVar("E", bound=Event)

LIMIT = 60.0
"""Seconds that anything awaited may take."""


class BrokerAddress(Protocol):
    """Where a broker is: a node of the tests' own, or one that was named."""

    @property
    def url(self) -> str: ...
    @property
    def management_url(self) -> str: ...


class Broker:
    """One virtual host: its AMQP URL, and the management API for what only an operator can do."""

    def __init__(self, url: str, vhost: str, api: httpx.Client) -> None:
        self.url = url
        self.vhost = vhost
        self._api = api
        login = broker_login(url)
        self._auth = (login.user, login.password)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["Client"]:
        """A client of the test's own."""
        connection = await connect(self.url, "test")
        async with connection:
            yield Client(connection, await connection.channel(on_return_raises=True))

    def publish_manually(
        self, exchange: str, routing_key: str, payload: str, properties: dict[str, Any] | None = None
    ) -> bool:
        """Publish as the management UI does; return whether any queue took it."""
        path, message = publication(self.vhost, exchange, routing_key, payload, properties)
        answer = self._api.post(path, auth=self._auth, json=message).raise_for_status()
        return bool(answer.json()["routed"])

    def load(self, definitions: dict[str, Any]) -> None:
        """Load definitions, as the broker does at its start."""
        self._api.post("/api/definitions", json=definitions).raise_for_status()

    def grant(self, user: str, write: str) -> None:
        """Let a user write where this pattern says, and to every topic there."""
        rights = {"configure": "^$", "write": write, "read": "^$"}
        self._api.put(
            f"/api/permissions/{self.vhost}/{user}", auth=self._auth, json=rights
        ).raise_for_status()
        topics = f"/api/topic-permissions/{self.vhost}/{user}"
        self._api.delete(topics, auth=self._auth).raise_for_status()

    def forbid_topics(self, user: str, exchange: str) -> None:
        """Forbid a user every topic of an exchange."""
        rights = {"exchange": exchange, "write": "^$", "read": "^$"}
        topics = f"/api/topic-permissions/{self.vhost}/{user}"
        self._api.put(topics, auth=self._auth, json=rights).raise_for_status()

    def shut_out(self, user: str) -> None:
        """Take all rights away from a user."""
        permissions = f"/api/permissions/{self.vhost}/{user}"
        self._api.delete(permissions, auth=self._auth).raise_for_status()

    def grants_itself_everything(self, user: str) -> int:
        """Have a user ask for all rights; return the HTTP status of the answer."""
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        return self._api.put(
            f"/api/permissions/{self.vhost}/{user}",
            auth=self._auth,
            json=everything,
            # A broker that refuses does not read what it refuses, and closes the connection.
            headers={"Connection": "close"},
        ).status_code

    def as_user(self, user: str, password: str) -> "Broker":
        """The same virtual host for another user."""
        parts = urlsplit(self.url)
        netloc = f"{user}:{password}@{parts.hostname}:{parts.port}"
        return Broker(parts._replace(netloc=netloc).geturl(), self.vhost, self._api)

    async def cut_connections(self, named: str, count: int = 1) -> None:
        """Close every connection whose client gave a name that contains this, once there are so many.

        The management API lists a connection only some time after it was opened.
        """
        mine: list[dict[str, Any]] = []

        def there() -> bool:
            rows = self._api.get(f"/api/vhosts/{self.vhost}/connections").raise_for_status().json()
            mine[:] = [
                row for row in rows if named in row.get("client_properties", {}).get("connection_name", "")
            ]
            return len(mine) == count

        await until(there, f"the broker lists {count} connections of {named}")
        for row in mine:
            self._api.delete(f"/api/connections/{row['name']}", headers={"X-Reason": "test"})


@contextmanager
def virtual_host(node: BrokerAddress) -> Iterator[Broker]:
    """A new virtual host, deleted at the end."""
    name = f"test-{uuid4().hex[:12]}"
    login = broker_login(node.url)
    with httpx.Client(
        base_url=node.management_url, auth=(login.user, login.password), trust_env=False
    ) as api:
        api.put(f"/api/vhosts/{name}").raise_for_status()
        permissions = {"configure": ".*", "write": ".*", "read": ".*"}
        api.put(f"/api/permissions/{name}/{login.user}", json=permissions).raise_for_status()
        yield Broker(f"{node.url}{name}", name, api)
        api.delete(f"/api/vhosts/{name}").raise_for_status()


class Client:
    """A connection to the broker, as any other program might have one."""

    def __init__(self, connection: AbstractConnection, channel: Any) -> None:
        self.connection = connection
        self.channel = channel

    async def publish(self, exchange: str, routing_key: str, body: bytes, **properties: Any) -> None:
        """Publish confirmed; an unroutable message raises."""
        target = await self.channel.get_exchange(exchange, ensure=False)
        await target.publish(aio_pika.Message(body, **properties), routing_key, mandatory=True)

    async def publish_event(self, event: Event) -> None:
        """Publish an event as its service would, without an id where it has none."""
        fields = event.model_dump(mode="json", by_alias=True, exclude_none=True)
        await self.publish(home_exchange(event.type), event.type, json.dumps(fields).encode())

    async def depth(self, queue: str) -> int:
        """Return how many messages wait in a queue, without the unacknowledged ones."""
        declared = await self.channel.declare_queue(queue, passive=True)
        return int(declared.declaration_result.message_count or 0)

    async def get(self, queue: str) -> AbstractIncomingMessage:
        """Take one message, waiting for it."""
        source = await self.channel.get_queue(queue, ensure=False)
        message: AbstractIncomingMessage | None = None

        async def arrived() -> bool:
            nonlocal message
            message = await source.get(fail=False)
            return message is not None

        await until(arrived, f"a message arrives in {queue}")
        assert message is not None
        return message

    async def stand_in_for(self, topology: Topology) -> "Neighbour":
        """Take the part of another service at the broker."""
        await declare_own(self.connection, topology)
        return Neighbour(self, topology)


class Neighbour:
    """A service that is not there: its queue is read by the test."""

    def __init__(self, client: Client, topology: Topology) -> None:
        self._client = client
        self._topology = topology

    async def bind(self, only_to: str | None = None) -> None:
        """Bind its queue to the events it reacts to, of one exchange or of all; each has to be there."""
        queue = await self._client.channel.get_queue(self._topology.queue, ensure=False)
        for _, exchange, key in self._topology.event_bindings:
            if only_to in (None, exchange):
                await queue.bind(exchange, key)
        await declare_bound(self._client.connection, self._topology)

    async def receive(self) -> Event:
        """Return the next event that it would react to."""
        message = await self._client.get(self._topology.queue)
        await message.ack()
        return decode(message.body)

    async def receive_a(self, kind: type[E], order_id: str) -> E:
        """Return the next event, which has to be of this type and about this order."""
        event = await self.receive()
        assert isinstance(event, kind), event
        assert event.order_id == order_id
        return event


async def until(
    condition: Callable[[], bool] | Callable[[], Awaitable[bool]], what: str, limit: float = LIMIT
) -> None:
    """Wait until a condition holds."""
    try:
        async with asyncio.timeout(limit):
            while True:
                found = condition()
                if found if isinstance(found, bool) else await found:
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {limit:g} s: {what}") from None
