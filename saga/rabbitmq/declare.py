"""Declares the exchanges, queues and bindings of a service; declaring them again changes nothing."""

from collections.abc import Sequence

from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelNotFoundEntity

from saga.messaging.topology import Topology
from saga.rabbitmq.connection import brief_channel


async def declare_own(connection: AbstractConnection, topology: Topology) -> None:
    """Declare the service's own exchanges and queues, and bind these to each other, all but the last one.

    Raises:
        AMQPError: an object of that name exists with other arguments.
    """
    async with brief_channel(connection) as channel:
        for name, kind in topology.exchanges.items():
            await channel.exchange_declare(name, exchange_type=kind, durable=True)
        await _declare_queues(
            channel, topology, [name for name in topology.queues if name != topology.quarantine_queue]
        )


async def declare_bound(connection: AbstractConnection, topology: Topology) -> None:
    """Declare the queue whose existence shows publishers that the service is bound to all its events."""
    async with brief_channel(connection) as channel:
        await _declare_queues(channel, topology, [topology.quarantine_queue])


async def _declare_queues(channel: AbstractChannel, topology: Topology, names: Sequence[str]) -> None:
    for name in names:
        await channel.queue_declare(name, durable=True, arguments=dict(topology.queues[name]))
    for queue, exchange, key in topology.own_bindings:
        if queue in names:
            await channel.queue_bind(queue, exchange, key)


async def bind_events(connection: AbstractConnection, topology: Topology) -> list[str]:
    """Bind the service's queue to the events it reacts to; return the exchanges that are not there yet.

    Raises:
        AMQPError: the connection is lost, or the broker refuses.
    """
    missing: list[str] = []
    for queue, exchange, key in topology.event_bindings:
        if exchange in missing:
            continue
        # Binding to an exchange that does not exist closes the channel.
        async with brief_channel(connection) as channel:
            try:
                await channel.queue_bind(queue, exchange, key)
            except ChannelNotFoundEntity:
                missing.append(exchange)
    return missing
