"""Declares what a service has at the broker; doing it again changes nothing."""

from aio_pika.abc import AbstractConnection

from messaging.inbox import GONE
from messaging.topology import Topology


async def declare_own(connection: AbstractConnection, topology: Topology) -> None:
    """Declare the service's own exchanges and queues, and bind these to each other.

    Raises:
        AMQPError: an object of that name exists with other arguments.
    """
    async with connection.channel() as channel:
        for name, kind in topology.exchanges.items():
            await channel.declare_exchange(name, kind, durable=True)
        for name, arguments in topology.queues.items():
            await channel.declare_queue(name, durable=True, arguments=dict(arguments))
        underlay = await channel.get_underlay_channel()
        for queue, exchange, key in topology.own_bindings:
            await underlay.queue_bind(queue, exchange, key)


async def bind_events(connection: AbstractConnection, topology: Topology) -> list[str]:
    """Bind the service's queue to the events it reacts to; return the exchanges that are not there yet."""
    missing: list[str] = []
    for queue, exchange, key in topology.event_bindings:
        if exchange in missing:
            continue
        # Binding to an exchange that does not exist closes the channel.
        channel = await connection.channel()
        try:
            await (await channel.get_underlay_channel()).queue_bind(queue, exchange, key)
        except GONE:
            if connection.is_closed:
                raise
            missing.append(exchange)
        finally:
            await channel.close()
    return missing
