"""Publishing ends when the broker has confirmed, refused or returned every message, or is lost."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest
from aio_pika.abc import AbstractConnection
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from events.catalogue import InventoryConfirmed
from events.encoded import EncodedEvent
from saga.errors import Unavailable
from saga.messaging.message import Message, to_message
from saga.rabbitmq.errors import Unconfirmed, Unroutable
from saga.rabbitmq.publisher import ConfirmingPublisher
from tests.support.amqp import Line
from tests.support.builders import event


def publisher_on(line: Line, timeout: float = 10.0) -> ConfirmingPublisher:
    return ConfirmingPublisher(cast(AbstractConnection, None), line.channel, [], "guest", timeout)


def messages(count: int) -> list[Message]:
    return [Message("order.events", f"key-{one}", b"{}", message_id=str(one)) for one in range(count)]


async def sending(line: Line, batch: Sequence[Message], publisher: ConfirmingPublisher) -> asyncio.Task[None]:
    """Start to send; return once all is written."""
    task = asyncio.create_task(publisher.send(batch))
    await asyncio.sleep(0)
    assert [frame.routing_key for frame in line.written() if isinstance(frame, Basic.Publish)] == [
        message.routing_key for message in batch
    ]
    return task


@pytest.mark.parametrize(
    "error",
    [Exception(), ConnectionError("gone"), RuntimeError("closed"), ValueError("unforeseen"), None],
    ids=["clean close", "gone", "closed", "unforeseen", "no reason"],
)
async def test_a_lost_connection_means_an_unavailable_broker(error: Exception | None) -> None:
    line = Line()
    task = await sending(line, [to_message(EncodedEvent.of(event(InventoryConfirmed)))], publisher_on(line))
    if error:
        line.rpc.closing.set_exception(error)
    else:
        line.rpc.closing.set_result(None)
    with pytest.raises(Unavailable, match="broker was lost"):
        await task


async def test_a_silent_broker_means_an_unavailable_broker() -> None:
    line = Line()
    task = await sending(line, messages(1), publisher_on(line))
    line.rpc.closing.cancel()
    with pytest.raises(Unavailable, match="broker was lost"):
        await task


async def test_what_cannot_be_written_is_not_awaited() -> None:
    line = Line()
    line.socket.closing = True
    with pytest.raises(Unavailable, match="connection to the broker was lost"):
        await publisher_on(line).send(messages(1))


async def test_confirms_are_awaited_for_a_limited_time() -> None:
    line = Line()
    with pytest.raises(Unavailable, match=r"did not confirm within 0\.01 s"):
        await publisher_on(line, timeout=0.01).send(messages(1))


@st.composite
def confirms(draw: st.DrawFn) -> tuple[int, list[tuple[int, bool]]]:
    """Messages, and confirms of all of them: in any order, of one or of all up to one."""
    count = draw(st.integers(1, 12))
    order = draw(st.permutations(range(1, count + 1)))
    return count, [(number, draw(st.booleans())) for number in order]


@given(confirms())
def test_sending_ends_when_the_last_message_is_confirmed(case: tuple[int, list[tuple[int, bool]]]) -> None:
    async def play() -> None:
        count, answers = case
        line = Line()
        batch = messages(count)
        publisher = publisher_on(line)
        tasks = [await sending(line, part, publisher) for part in (batch[:3], batch[3:]) if part]
        open_numbers = set(range(1, count + 1))
        for number, multiple in answers:
            line.arrive(Basic.Ack(number, multiple))
            open_numbers -= {one for one in open_numbers if one == number or (multiple and one < number)}
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            first_done = not open_numbers & {1, 2, 3}
            assert tasks[0].done() == first_done
            assert all(task.done() for task in tasks) == (not open_numbers)
        for task in tasks:
            task.result()

    asyncio.run(play())


async def test_a_refused_message_fails_its_batch_and_no_other() -> None:
    line = Line()
    publisher = publisher_on(line)
    first, second = await sending(line, messages(2), publisher), await sending(line, messages(3), publisher)
    line.arrive(Basic.Nack(4, False, False), Basic.Ack(5, True))
    await first
    with pytest.raises(Unconfirmed, match=r"did not accept a message to order\.events with the key key-1"):
        await second


async def test_a_returned_message_fails_its_batch_once_confirmed() -> None:
    line = Line()
    publisher = publisher_on(line)
    first, second = await sending(line, messages(2), publisher), await sending(line, messages(1), publisher)
    header = ContentHeader(body_size=0, properties=Basic.Properties(message_id="1"))
    line.arrive(Basic.Return(312, "NO_ROUTE", "order.events", "key-1"), header)
    await asyncio.sleep(0)
    assert not first.done()
    line.arrive(Basic.Ack(3, True))
    await second
    with pytest.raises(Unroutable, match=r"no queue takes a message to order\.events with the key key-1"):
        await first


async def test_returns_of_one_id_are_matched_by_route() -> None:
    line = Line()
    publisher = publisher_on(line)
    batch = [Message("order.events", key, b"{}", message_id="same") for key in ("routed", "unrouted")]
    first, second = [await sending(line, [message], publisher) for message in batch]
    header = ContentHeader(body_size=0, properties=Basic.Properties(message_id="same"))
    line.arrive(Basic.Return(312, "NO_ROUTE", "order.events", "unrouted"), header, Basic.Ack(2, True))
    await first
    with pytest.raises(Unroutable):
        await second


async def test_a_sender_that_gives_up_disturbs_no_other() -> None:
    line = Line()
    publisher = publisher_on(line)
    first, second = await sending(line, messages(1), publisher), await sending(line, messages(1), publisher)
    first.cancel()
    await asyncio.wait([first])
    line.arrive(Basic.Ack(2, True))
    await second


async def test_a_message_that_cannot_be_encoded_is_not_sent() -> None:
    line = Line()
    publisher = publisher_on(line)
    with pytest.raises(ValueError, match="longer than 255 bytes"):
        await publisher.send([*messages(1), Message("order.events", "k" * 256, b"{}")])
    assert not line.written()
    task = await sending(line, messages(1), publisher)
    line.arrive(Basic.Ack(1, False))
    await task
