"""The broker's users in a test's virtual host, and the operations that one may try there."""

from collections.abc import Awaitable, Callable
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from operations.access.broker_definitions import definitions, users
from saga.messaging.users import ADMINISTRATOR
from tests.support.broker import Broker
from tests.support.services import TOPOLOGIES

PASSWORDS = {user: f"{user}-s3cret" for user in (*users([*TOPOLOGIES.values()]), ADMINISTRATOR)}
"""Users belong to the whole broker: the same in every virtual host."""

Act = Callable[[AbstractChannel], Awaitable[object]]


def load_users(broker: Broker) -> Broker:
    """Load the definitions into a virtual host, as the broker does at its start; return it."""
    broker.load(definitions([*TOPOLOGIES.values()], PASSWORDS, broker.vhost))
    return broker


def at(broker: Broker, user: str) -> Broker:
    """Return the virtual host as one of the users sees it."""
    return broker.as_user(user, PASSWORDS[user])


def published(exchange: str, key: str, body: bytes = b"{}", **properties: Any) -> Act:
    """Publish, confirmed."""

    async def act(channel: AbstractChannel) -> None:
        source = await channel.get_exchange(exchange, ensure=False)
        await source.publish(aio_pika.Message(body, **properties), key, mandatory=False)

    return act


def got(queue: str) -> Act:
    """Get a message, and requeue it."""

    async def act(channel: AbstractChannel) -> None:
        source = await channel.get_queue(queue, ensure=False)
        if message := await source.get(fail=False):
            await message.nack(requeue=True)

    return act


def consumed(queue: str) -> Act:
    """Consume from a queue."""

    async def ignored(message: AbstractIncomingMessage) -> None:
        pass

    async def act(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).consume(ignored)

    return act


def purged(queue: str) -> Act:
    """Empty a queue."""

    async def act(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).purge()

    return act


def bound(queue: str, exchange: str, key: str) -> Act:
    """Bind a queue."""

    async def act(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).bind(exchange, key)

    return act


def unbound(queue: str, exchange: str, key: str) -> Act:
    """Remove a binding."""

    async def act(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).unbind(exchange, key)

    return act


def declared(queue: str, *, exclusive: bool = False) -> Act:
    """Declare a queue; without a name, the broker gives it one."""
    return lambda channel: channel.declare_queue(queue, exclusive=exclusive)


def exchange_declared(name: str) -> Act:
    """Declare an exchange."""
    return lambda channel: channel.declare_exchange(name, "topic")


def exchange_deleted(name: str) -> Act:
    """Delete an exchange."""
    return lambda channel: channel.exchange_delete(name)


def queue_deleted(name: str) -> Act:
    """Delete a queue."""
    return lambda channel: channel.queue_delete(name)
