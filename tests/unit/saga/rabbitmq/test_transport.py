"""What arrives over a connection is split between the channels that read for themselves and the library."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiormq.exceptions import ChannelInvalidStateError
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.frame import marshal
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from saga.messaging.message import Delivery
from saga.rabbitmq import frames
from saga.rabbitmq.transport import LIVENESS_INTERVAL, Splitter
from tests.support.amqp import NUMBER, Line, delivered

OTHER = 3
FOREIGN = [
    *(marshal(frame, OTHER) for frame in delivered(1, b"not ours")),
    marshal(Heartbeat(), 0),
    marshal(Basic.ConsumeOk("consumer"), NUMBER),
    *(
        marshal(frame, NUMBER)
        for frame in (Basic.GetOk(1, False, "e", "k", 0), ContentHeader(body_size=1), ContentBody(b"x"))
    ),
]


class Reading:
    """A line whose deliveries are kept, and the library's end of it."""

    def __init__(self) -> None:
        self.line = Line()
        self.deliveries: list[Delivery] = []
        self.line.channel.on_delivery = self.deliveries.append
        self.reader = asyncio.StreamReader()
        self.splitter = Splitter(self.reader, self.line.transport, asyncio.get_running_loop())

    async def library(self) -> bytes:
        """Return what the library has to read."""
        self.splitter.eof_received()
        return await self.reader.read()


async def read(pieces: Sequence[bytes]) -> tuple[list[tuple[int, bytes]], bytes]:
    reading = Reading()
    for piece in pieces:
        reading.splitter.data_received(piece)
    return [(one.tag, one.body) for one in reading.deliveries], await reading.library()


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], list[tuple[int, bytes]], bytes]:
    """Deliveries between frames of the library's, cut anywhere; what each side has to get."""
    ours: list[tuple[int, bytes]] = []
    theirs, stream = b"", b""
    for tag in range(1, draw(st.integers(1, 6)) + 1):
        body = draw(st.binary(max_size=40))
        ours.append((tag, body))
        parts = draw(st.integers(1, 3))
        content = [body[at::parts] for at in range(1)] if parts == 1 else [body[:5], body[5:]]
        method, header, *_ = delivered(tag, body)
        stream += marshal(method, NUMBER) + marshal(header, NUMBER)
        stream += b"".join(marshal(ContentBody(part), NUMBER) for part in content if part)
        if draw(st.booleans()):
            stream += b"".join(FOREIGN)
            theirs += b"".join(FOREIGN)
    cuts = sorted(draw(st.sets(st.integers(0, len(stream)))))
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)], ours, theirs


@given(streams())
def test_each_side_gets_its_frames_wherever_the_stream_is_cut(
    stream: tuple[list[bytes], list[tuple[int, bytes]], bytes],
) -> None:
    pieces, ours, theirs = stream
    deliveries, library = asyncio.run(read(pieces))
    assert deliveries == ours
    assert library.replace(frames.IDLE, b"") == theirs.replace(frames.IDLE, b"")


async def test_the_library_learns_that_the_connection_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Reading()
    now = [100.0]
    monkeypatch.setattr(reading.splitter, "_clock", lambda: now[0])
    for tag in range(1, 8):
        reading.splitter.data_received(b"".join(marshal(frame, NUMBER) for frame in delivered(tag)))
        now[0] += LIVENESS_INTERVAL / 2
    assert len(reading.deliveries) == 7
    assert await reading.library() == frames.IDLE * 4


async def test_an_incomplete_frame_is_left_to_the_library_at_the_end() -> None:
    reading = Reading()
    reading.splitter.data_received(marshal(Heartbeat(), 0) + b"\x01\0\x07")
    assert await reading.library() == marshal(Heartbeat(), 0) + b"\x01\0\x07"


async def test_a_broker_that_blocks_publishers_is_known() -> None:
    line = Line()
    seen = []
    for frame in (commands.Connection.Blocked("memory"), commands.Connection.Unblocked()):
        assert line.arrive(frame, channel=0) == marshal(frame, 0), "the library learns it too"
        seen.append(line.channel.blocked)
    assert seen == [True, False]


async def test_nothing_is_written_once_the_broker_closes_the_channel() -> None:
    line = Line()
    close = commands.Channel.Close(404, "NOT_FOUND", 60, 40)
    assert line.arrive(close) == marshal(close, NUMBER)
    assert line.channel.closed
    with pytest.raises(ChannelInvalidStateError):
        line.channel.write(b"frame")
    assert not line.socket.written


async def test_nothing_is_written_to_a_closing_connection() -> None:
    line = Line()
    line.socket.closing = True
    with pytest.raises(ConnectionError):
        line.channel.write(b"frame")


async def test_a_channel_number_that_is_free_again_is_the_librarys() -> None:
    line = Line()
    found: list[Delivery] = []
    line.channel.on_delivery = found.append
    assert not line.arrive(*delivered(1))
    line.rpc.closing.set_result(None)
    await asyncio.sleep(0)
    assert line.arrive(*delivered(2))


async def test_frames_not_asked_for_are_the_librarys() -> None:
    line = Line()
    everything: list[Any] = [*delivered(1, b"body"), Basic.Ack(1), Basic.Return(312, "NO_ROUTE", "e", "k")]
    assert line.arrive(*everything) == b"".join(marshal(frame, NUMBER) for frame in everything)
