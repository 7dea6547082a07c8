"""A TCP proxy on this machine that fails as networks do: it delays, stalls, cuts, refuses."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

CHUNK = 64 * 1024
"""Bytes that are passed on at once unless a window is set."""


class Observer(Protocol):
    """Sees what one connection carries."""

    def feed(self, chunk: bytes, *, upwards: bool) -> None:
        """Take the next bytes of the client (upwards) or of the server."""


class Proxy:
    """Passes connections on to a port of 127.0.0.1, with the faults that its methods inject; see `proxy_to`.

    A fault lasts until `heal`. It also concerns later connections, unless its method says otherwise.
    """

    def __init__(self, target_port: int, observe: Callable[[], Observer] | None = None) -> None:
        """`observe` makes an observer for each connection, which sees what is passed on."""
        self._target_port = target_port
        self._observe = observe
        self._server: asyncio.Server | None = None
        self._port = 0
        self._links: set[_Link] = set()
        self._latency = 0.0
        self._window = CHUNK
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.cuts = 0
        """How many connections were cut by `cut` and `cut_after`."""

    @property
    def port(self) -> int:
        """The port it listens on, the same after `refuse` and `heal`."""
        return self._port

    async def heal(self) -> None:
        """End all faults: pass everything on at once, and accept connections."""
        self._latency, self._window = 0.0, CHUNK
        self._flowing.set()
        for link in self._links:
            link.left = None
        if self._server is None:
            self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self._port)
            self._port = int(self._server.sockets[0].getsockname()[1])

    def slow(self, latency: float, window: int) -> None:
        """Delay every chunk by `latency` seconds, with at most `window` bytes of a connection in flight in
        each direction: no connection passes on more than `window / latency` bytes a second."""
        self._latency, self._window = latency, window

    def cut(self) -> None:
        """Cut every open connection."""
        for link in list(self._links):
            self._cut(link)

    def cut_after(self, sent: int) -> None:
        """Cut each open connection once its client has sent so many more bytes, perhaps in the middle of a
        message; a connection that has a limit already keeps it."""
        for link in self._links:
            link.left = sent if link.left is None else link.left

    def stall(self) -> None:
        """Pass nothing on: connections stay open, and new ones are accepted without an answer."""
        self._flowing.clear()

    async def refuse(self) -> None:
        """Cut every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    async def close(self) -> None:
        """Cut every connection, stop listening, and return once all connections have ended."""
        self._flowing.set()
        await self.refuse()
        while self._links:
            await asyncio.wait([link.ended for link in self._links])

    def _cut(self, link: "_Link") -> None:
        self.cuts += 1
        link.abort()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, target_writer, self._observe() if self._observe else None)
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, target_writer, link, upwards=True))
                pumps.create_task(self._pump(target_reader, writer, link, upwards=False))
        except* OSError:
            pass
        finally:
            link.abort()
            self._links.discard(link)
            link.ended.set_result(None)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, link: "_Link", *, upwards: bool
    ) -> None:
        while data := await source.read(self._window):
            await asyncio.sleep(self._latency)
            await self._flowing.wait()
            if upwards and link.left is not None:
                data = data[: link.left]
                link.left -= len(data)
            if link.observer:
                link.observer.feed(data, upwards=upwards)
            sink.write(data)
            await sink.drain()
            if link.left == 0:
                self._cut(link)
                return
        link.abort()


class _Link:
    """One connection through the proxy: its two ends, and how many bytes its client may still send."""

    def __init__(
        self, client: asyncio.StreamWriter, target: asyncio.StreamWriter, observer: Observer | None
    ) -> None:
        self._ends = (client, target)
        self.observer = observer
        self.left: int | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def abort(self) -> None:
        """Close both ends immediately and discard their buffers."""
        for end in self._ends:
            end.transport.abort()


@asynccontextmanager
async def proxy_to(port: int, observe: Callable[[], Observer] | None = None) -> AsyncIterator[Proxy]:
    """Run a proxy that leads to a port of 127.0.0.1, without faults at first; see `Proxy`."""
    proxy = Proxy(port, observe)
    await proxy.heal()
    try:
        yield proxy
    finally:
        await proxy.close()
