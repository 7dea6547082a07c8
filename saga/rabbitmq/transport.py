"""The bytes of one connection: the frames of the hot path for their channels, all others for the library.

The client library reads and writes frame by frame, each through queues, tasks and futures of its own. It
lets its user supply the transport; this one takes out the frames that a channel of ours wants.
"""

import asyncio
from typing import Any, Protocol

from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPConnectionError

from saga.rabbitmq import frames

LIVENESS_INTERVAL = 1.0
"""Seconds after which the library learns that the connection lives, when all frames went past it."""


class FrameReader(Protocol):
    """Reads the frames of one channel that it wants."""

    def receive(self, kind: int, data: bytes, start: int, end: int) -> bool:
        """Take a frame, whose payload is `data[start:end]`; return False to leave it to the library."""


class Transport(TransportFactory):
    """What one connection of the library reads from and writes to."""

    def __init__(self) -> None:
        self._readers: dict[int, FrameReader] = {}
        self._socket: asyncio.Transport | None = None
        self.blocked = False
        """The broker has asked publishers to wait, as when it is short of memory."""

    async def create(self, url: Any, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect, for the library; see there."""
        contexts = kwargs.pop("ssl_context_provider")
        context = await contexts.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = Splitter(reader, self, loop)
        try:
            socket, _ = await loop.create_connection(
                lambda: protocol, str(url.host), url.port or 0, ssl=context, **kwargs
            )
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        self.connected(socket)
        return reader, asyncio.StreamWriter(socket, protocol, reader, loop)

    def connected(self, socket: asyncio.Transport) -> None:
        """Write to this from now on."""
        self._socket = socket

    def attach(self, channel: int, reader: FrameReader) -> None:
        """Let a channel read its frames before the library does."""
        self._readers[channel] = reader

    def detach(self, channel: int) -> None:
        """Leave the channel, whose number is used again, to the library."""
        self._readers.pop(channel, None)

    def write(self, data: bytes) -> None:
        """Send whole frames.

        Raises:
            ConnectionError: the connection is lost or being closed.
        """
        if self._socket is None or self._socket.is_closing():
            raise ConnectionError("the connection to the broker is closed")
        self._socket.write(data)

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """Hand out whole frames; return those that are the library's, and the beginning of the next frame."""
        others: list[bytes] = []
        at, length = 0, len(data)
        while length - at >= frames.OVERHEAD:
            kind, channel, size = frames.PREFIX.unpack_from(data, at)
            end = at + frames.OVERHEAD + size
            if end > length:
                break
            if not self._taken(kind, channel, data, at + frames.PREFIX.size, end - 1):
                others.append(data[at:end])
            at = end
        return b"".join(others), data[at:]

    def _taken(self, kind: int, channel: int, data: bytes, start: int, end: int) -> bool:
        if channel == 0 and kind == frames.METHOD:
            (method,) = frames.UINT32.unpack_from(data, start)
            if method in (frames.BLOCKED, frames.UNBLOCKED):
                self.blocked = method == frames.BLOCKED
        reader = self._readers.get(channel)
        return reader is not None and reader.receive(kind, data, start, end)


class Splitter(asyncio.StreamReaderProtocol):
    """Gives the library what of the arriving bytes is its own."""

    def __init__(
        self, reader: asyncio.StreamReader, transport: Transport, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(reader, loop=loop)
        self._split = transport.split
        self._clock = loop.time
        self._rest = b""
        self._tell_at = 0.0

    def data_received(self, data: bytes) -> None:
        others, self._rest = self._split(self._rest + data if self._rest else data)
        if not others and self._clock() >= self._tell_at:
            others = frames.IDLE
        if others:
            self._tell_at = self._clock() + LIVENESS_INTERVAL
            super().data_received(others)

    def eof_received(self) -> bool | None:
        if self._rest:
            super().data_received(self._rest)
        return super().eof_received()
