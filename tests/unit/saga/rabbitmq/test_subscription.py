"""A subscription settles each message once, with the outcome that was asked for."""

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic

from events.codec import MAX_BYTES
from saga.messaging.message import Delivery
from saga.rabbitmq.subscription import RabbitSubscription
from tests.support.amqp import FRAME_MAX, Line, delivered


def delivery(tag: int) -> Delivery:
    return Delivery(tag=tag, exchange="", routing_key="", body=b"")


async def subscribed(line: Line, deliveries: int) -> RabbitSubscription:
    """Return a subscription to which the broker has delivered messages, numbered from 1."""
    subscription = RabbitSubscription(line.channel, "orders")
    await subscription.resume()
    for tag in range(1, deliveries + 1):
        assert not line.arrive(*delivered(tag))
    return subscription


def settled(line: Line, tags: Sequence[int]) -> dict[int, str]:
    """Return what has become of deliveries, by the broker's rules for the frames that were written."""
    outcome: dict[int, str] = {}
    open_tags = sorted(tags)
    for frame in line.written():
        how = "ack" if isinstance(frame, Basic.Ack) else "back" if frame.requeue else "dead"
        number = frame.delivery_tag
        meant = [one for one in open_tags if one == number or (frame.multiple and one < number)]
        outcome.update(dict.fromkeys(meant, how))
        if number not in meant:
            outcome[number] = "unknown: the broker ends the channel"
        open_tags = [one for one in open_tags if one not in meant]
    return outcome


@st.composite
def settlements(draw: st.DrawFn) -> list[tuple[str, list[int]]]:
    """Deliveries in any groups and any order, each to be acknowledged or given back."""
    tags = draw(st.permutations(range(1, draw(st.integers(1, 16)) + 1)))
    groups: list[tuple[str, list[int]]] = []
    for tag in tags:
        if not groups or draw(st.booleans()):
            groups.append((draw(st.sampled_from(["ack", "back"])), []))
        groups[-1][1].append(tag)
    return groups


async def settle(groups: Sequence[tuple[str, list[int]]]) -> dict[int, str]:
    """Settle all groups at once; return what became of each delivery at the broker."""
    line = Line()
    tags = [tag for _, group in groups for tag in group]
    subscription = await subscribed(line, len(tags))
    act = {"ack": subscription.ack, "back": subscription.requeue}
    await asyncio.gather(*(act[how]([delivery(tag) for tag in group]) for how, group in groups))
    assert not subscription.unacknowledged
    return settled(line, tags)


@given(settlements())
def test_each_message_is_settled_once_and_as_asked(groups: list[tuple[str, list[int]]]) -> None:
    meant = {tag: how for how, tags in groups for tag in tags}
    assert asyncio.run(settle(groups)) == meant


async def test_a_batch_is_acknowledged_with_one_frame() -> None:
    line = Line()
    subscription = await subscribed(line, 20)
    await subscription.ack(await subscription.take(20))
    assert [(frame.delivery_tag, frame.multiple) for frame in line.written()] == [(20, True)]


async def test_a_batch_is_what_has_arrived_up_to_the_limit() -> None:
    subscription = await subscribed(Line(), 5)
    assert [[one.tag for one in await subscription.take(3)] for _ in range(2)] == [[1, 2, 3], [4, 5]]


async def test_a_message_longer_than_any_event_is_rejected() -> None:
    line = Line()
    subscription = await subscribed(line, 1)
    body = bytes(MAX_BYTES + 1)
    method, header, _ = delivered(2, body)
    part = FRAME_MAX - 8
    line.arrive(method, header, *(ContentBody(body[at : at + part]) for at in range(0, len(body), part)))
    line.arrive(*delivered(3))
    assert [one.tag for one in await subscription.take(10)] == [1, 3]
    assert settled(line, [1, 2, 3]) == {2: "dead"}


async def test_nothing_is_settled_once_the_channel_is_lost() -> None:
    line = Line()
    subscription = await subscribed(line, 2)
    first, second = await subscription.take(2)
    line.rpc.closing.set_exception(ConnectionError("gone"))
    await subscription.ack([first])
    await subscription.requeue([second])
    assert subscription.closed
    assert not line.written()
