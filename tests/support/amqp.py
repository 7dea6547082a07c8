"""A channel without a broker: what is written to it can be read, and what arrives is the test's choice."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import aiormq
import pamqp.frame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from saga.rabbitmq.channel import Channel
from saga.rabbitmq.transport import Transport

NUMBER = 7
FRAME_MAX = 4096


class Rpc:
    """The client library's part of a channel."""

    def __init__(self) -> None:
        self.number = NUMBER
        self.closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.connection = SimpleNamespace(connection_tune=SimpleNamespace(frame_max=FRAME_MAX))
        self.on_consumer_cancel_callbacks: set[Any] = set()

    @property
    def is_closed(self) -> bool:
        return self.closing.done()

    async def basic_consume(
        self, queue: str, callback: Callable[[Any], Awaitable[None]], *, no_ack: bool = False
    ) -> Basic.ConsumeOk:
        return Basic.ConsumeOk("consumer")


class Socket:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self.written += data


class Line:
    """A channel, its transport, and the far end of both."""

    def __init__(self) -> None:
        self.rpc = Rpc()
        self.socket = Socket()
        self.transport = Transport()
        self.transport.connected(cast(asyncio.Transport, self.socket))
        self.channel = Channel(cast(aiormq.Channel, self.rpc), self._lost, self.transport)

    async def _lost(self) -> None:
        await asyncio.wait([self.rpc.closing])

    def arrive(self, *frames: Any, channel: int = NUMBER) -> bytes:
        """Have frames arrive; return what is left for the library."""
        data = b"".join(pamqp.frame.marshal(frame, channel) for frame in frames)
        others, rest = self.transport.split(data)
        assert not rest
        return others

    def written(self) -> list[Any]:
        """Return the frames written since the last call."""
        data, self.socket.written = self.socket.written, b""
        return frames_in(data)


def frames_in(data: bytes) -> list[Any]:
    """Return the frames in some bytes, as the client library reads them."""
    found = []
    while data:
        size, channel, frame = pamqp.frame.unmarshal(data)
        assert channel == NUMBER
        found.append(frame)
        data = data[size:]
    return found


def delivered(
    tag: int, body: bytes = b"", properties: Basic.Properties | None = None, key: str = "key"
) -> list[Any]:
    """Return the frames of a delivery."""
    header = ContentHeader(body_size=len(body), properties=properties)
    return [
        Basic.Deliver("consumer", tag, False, "exchange", key),
        header,
        *([ContentBody(body)] if body else []),
    ]
