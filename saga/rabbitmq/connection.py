"""Opens connections and short-lived channels to the broker, and leaves nothing behind of either."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import aiormq
from aio_pika.abc import AbstractConnection
from aio_pika.connection import make_url
from aiormq.abc import AbstractChannel
from aiormq.exceptions import AMQPConnectionError

from saga.rabbitmq import tolerant_decoding
from saga.rabbitmq.channel import Channel
from saga.rabbitmq.transport import Transport

tolerant_decoding.install()


class Connection(aio_pika.Connection):
    """A connection of the library's over our own transport."""

    def __init__(self, url: str, name: str, **parameters: Any) -> None:
        super().__init__(make_url(url, **parameters), client_properties={"connection_name": name})
        self.wire = Transport()
        self.kwargs["transport_factory"] = self.wire


async def connect(url: str, name: str, **parameters: Any) -> Connection:
    """Connect to the broker, which shows the connection by this name.

    The parameters go to the library, as if they were in the URL.

    The library's own `connect` leaves a failed connection to the garbage collector, which closes it in
    another event loop, or fails for lack of one (aio-pika 10.2).

    Raises:
        ValueError: the URL cannot be used.
        aio_pika.exceptions.CONNECTION_EXCEPTIONS: the broker cannot be reached, or refuses.
    """
    connection = Connection(url, name, **parameters)
    try:
        await connection.connect()
    except StopAsyncIteration:
        # What the library raises where the connection ends before the broker has answered (aiormq 7.2).
        await connection.close()
        raise AMQPConnectionError("the connection was closed before the broker answered") from None
    except BaseException:
        await connection.close()
        raise
    return connection


async def open_channel(connection: Connection, *, confirms: bool) -> Channel:
    """Open a channel that lives as long as its connection; with `confirms`, publishing is confirmed."""
    channel = await connection.channel(publisher_confirms=confirms)
    underlay = await channel.get_underlay_channel()
    if not isinstance(underlay, aiormq.Channel):
        raise TypeError(f"{type(underlay).__name__} is no channel of aiormq")
    return Channel(underlay, channel.closed, connection.wire)


@asynccontextmanager
async def brief_channel(connection: AbstractConnection) -> AsyncIterator[AbstractChannel]:
    """Open a channel of AMQP's own level for as long as the block lasts.

    A channel of the level above leaves two callbacks behind until its connection is closed (aio-pika 10.2):
    with a few calls a second, gigabytes within days.

    Raises:
        ConnectionError: the connection is closed.
    """
    if connection.transport is None:
        raise ConnectionError("the connection to the broker is closed")
    channel = await connection.transport.connection.channel(publisher_confirms=False)
    try:
        yield channel
    finally:
        await channel.close()
