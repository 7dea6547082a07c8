"""Confirmed publishing over one AMQP channel, many messages in flight."""

import asyncio
from collections.abc import Sequence

from aio_pika.abc import AbstractConnection
from aiormq.exceptions import ChannelNotFoundEntity

from saga.errors import Unavailable
from saga.messaging.message import Message
from saga.rabbitmq import frames
from saga.rabbitmq.channel import Channel
from saga.rabbitmq.confirms import Confirms
from saga.rabbitmq.connection import brief_channel
from saga.rabbitmq.errors import translate_driver_errors
from saga.rabbitmq.rpc import run_shielded


class ConfirmingPublisher:
    """Publishes persistent messages as `user`, who has to be the one that is logged in, and waits for the
    broker's confirms for at most `timeout` seconds."""

    def __init__(
        self,
        connection: AbstractConnection,
        channel: Channel,
        required_queues: Sequence[str],
        user: str,
        timeout: float = 10.0,
    ) -> None:
        self._connection = connection
        self._channel = channel
        self._required = required_queues
        self._user = user
        self._timeout = timeout
        self._confirms = Confirms()
        channel.on_confirm = self._confirms.confirmed
        channel.on_return = self._confirms.returned
        channel.on_closed(self._confirms.lost)

    @property
    def open(self) -> bool:
        """True while the channel and its connection last."""
        return not self._channel.closed

    async def lost(self) -> None:
        """Wait until the channel or its connection is lost."""
        await self._channel.lost()

    @property
    def blocked(self) -> bool:
        """True while the broker asks publishers to wait, as when it is short of memory."""
        return self._channel.blocked

    async def send(self, messages: Sequence[Message]) -> None:
        """Publish all in one write; see `saga.messaging.publisher.Publisher`."""
        self._check_open()
        if not messages:
            return
        channel = self._channel
        written = frames.publish(messages, self._user, channel.number, channel.frame_max)
        with translate_driver_errors():
            channel.write(written)
        confirmed = self._confirms.expect(messages)
        try:
            async with asyncio.timeout(self._timeout):
                refusal = await confirmed
        except TimeoutError:
            raise Unavailable(f"the broker did not confirm within {self._timeout:g} s") from None
        if refusal:
            raise refusal

    async def check(self) -> None:
        """See `saga.messaging.publisher.Publisher`."""
        self._check_open()
        with translate_driver_errors():
            missing = await run_shielded(missing_queues(self._connection, self._required), self._timeout)
        if missing:
            raise Unavailable(f"the broker has no queue named {', '.join(missing)} yet")

    async def backlog(self) -> int:
        """See `saga.messaging.publisher.BacklogAwarePublisher`."""
        with translate_driver_errors():
            waiting = await run_shielded(depths(self._connection, self._required), self._timeout)
        return sum(depth or 0 for depth in waiting.values())

    def _check_open(self) -> None:
        if not self.open:
            raise Unavailable("the channel to the broker is closed")
        if self.blocked:
            raise Unavailable("the broker blocks publishers")


async def missing_queues(connection: AbstractConnection, queues: Sequence[str]) -> list[str]:
    """Return those of the queues that do not exist at the broker."""
    return [queue for queue, depth in (await depths(connection, queues)).items() if depth is None]


async def depths(connection: AbstractConnection, queues: Sequence[str]) -> dict[str, int | None]:
    """Return how many messages wait in each queue; None where there is no such queue."""
    found: dict[str, int | None] = {}
    for queue in queues:
        # A query for a missing queue closes the channel, so each has a channel of its own.
        async with brief_channel(connection) as channel:
            try:
                found[queue] = (await channel.queue_declare(queue, passive=True)).message_count or 0
            except ChannelNotFoundEntity:
                found[queue] = None
    return found
