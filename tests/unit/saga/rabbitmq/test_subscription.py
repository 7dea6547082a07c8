"""A subscription settles each message once, with the outcome that was asked for."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import aiormq
from aiormq.abc import AbstractChannel, DeliveredMessage
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from saga.messaging.message import Delivery
from saga.rabbitmq.subscription import RabbitSubscription

ROOM = 2
"""Frames that wait to be written before the client library makes callers wait; it has ten."""


class Wire:
    """A channel with a short write queue, and the broker's rules for what comes out of it."""

    def __init__(self, tags: Sequence[int]) -> None:
        self.on_consumer_cancel_callbacks: set[Any] = set()
        self.is_closed = False
        self.settled: dict[int, str] = {}
        self._open = sorted(tags)
        self._frames: asyncio.Queue[tuple[str, int, bool]] = asyncio.Queue(ROOM)

    async def basic_consume(self, queue: str, callback: Callable[[Any], Awaitable[None]]) -> Basic.ConsumeOk:
        for tag in self._open:
            deliver = Basic.Deliver(delivery_tag=tag, exchange="", routing_key=queue)
            await callback(DeliveredMessage(deliver, ContentHeader(), b"", cast(AbstractChannel, self)))
        return Basic.ConsumeOk("consumer")

    async def basic_ack(self, tag: int, *, multiple: bool = False, wait: bool) -> None:
        await self._frames.put(("ack", tag, multiple))

    async def basic_nack(self, tag: int, *, requeue: bool, wait: bool) -> None:
        await self._frames.put(("back" if requeue else "dead", tag, False))

    async def carry(self) -> None:
        """Take frames to the broker, as slowly as can be."""
        while True:
            how, tag, multiple = await self._frames.get()
            meant = [one for one in self._open if one == tag or (multiple and one < tag)]
            self.settled.update(dict.fromkeys(meant, how))
            if tag not in meant:
                self.settled[tag] = "unknown: the broker ends the channel"
            self._open = [one for one in self._open if one not in meant]
            self._frames.task_done()
            await asyncio.sleep(0)

    async def written(self) -> None:
        await self._frames.join()


def delivery(tag: int) -> Delivery:
    return Delivery(tag=tag, exchange="", routing_key="", body=b"")


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
    wire = Wire([tag for _, tags in groups for tag in tags])
    subscription = RabbitSubscription(cast(aiormq.Channel, wire), asyncio.Future(), "orders")
    await subscription.resume()
    act = {"ack": subscription.ack, "back": subscription.requeue}
    carrying = asyncio.create_task(wire.carry())
    await asyncio.gather(*(act[how]([delivery(tag) for tag in tags]) for how, tags in groups))
    await wire.written()
    carrying.cancel()
    return wire.settled


@given(settlements())
def test_each_message_is_settled_once_and_as_asked(groups: list[tuple[str, list[int]]]) -> None:
    meant = {tag: how for how, tags in groups for tag in tags}
    assert asyncio.run(settle(groups)) == meant
