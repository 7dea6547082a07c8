"""A connection that does not come about leaves nothing behind."""

import socket
from typing import Any

import aio_pika
import pytest
from aio_pika.exceptions import AMQPConnectionError

from saga.rabbitmq.connection import Connection, connect


def unused_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def test_refused_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Connection] = []

    class Remembered(Connection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr("saga.rabbitmq.connection.Connection", Remembered)
    with pytest.raises(AMQPConnectionError):
        await connect(f"amqp://127.0.0.1:{unused_port()}/", "unknown")
    # Open, its finalizer would look for an event loop to close it in.
    assert [connection.is_closed for connection in made] == [True]


async def test_a_connection_that_ends_before_an_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy, or a broker that is starting, may accept a connection and end it."""

    async def ended(self: Connection, timeout: float | None = None) -> None:
        raise StopAsyncIteration

    monkeypatch.setattr(aio_pika.Connection, "connect", ended)
    with pytest.raises(AMQPConnectionError, match="before the broker answered"):
        await connect("amqp://127.0.0.1:1/", "unknown")
