"""Confirmed publishing over one AMQP channel, many messages in flight."""

import asyncio
from collections.abc import Awaitable, Sequence

import aiormq
from aio_pika.abc import AbstractConnection
from aiormq.exceptions import ChannelNotFoundEntity
from pamqp.commands import Basic

from saga.errors import Unavailable
from saga.messaging.message import Message
from saga.rabbitmq.connection import brief_channel
from saga.rabbitmq.errors import as_unavailable, translate_driver_errors
from saga.rabbitmq.rpc import run_shielded

PERSISTENT = 2


class ConfirmingPublisher:
    """Publishes persistent messages as `user`, who has to be the one that is logged in, and waits for the
    broker's confirms for at most `timeout` seconds."""

    def __init__(
        self,
        connection: AbstractConnection,
        channel: aiormq.Channel,
        lost: Awaitable[object],
        required_queues: Sequence[str],
        user: str,
        timeout: float = 10.0,
    ) -> None:
        self._connection = connection
        self._channel = channel
        self._lost = lost
        self._required = required_queues
        self._user = user
        self._timeout = timeout

    @property
    def open(self) -> bool:
        """True while the channel and its connection last."""
        return not self._channel.is_closed

    async def lost(self) -> None:
        """Wait until the channel or its connection is lost."""
        await self._lost

    async def blocked(self) -> bool:
        """Tell whether the broker has asked publishers to wait, as when it is short of memory."""
        try:
            # The client library offers no query for this, only a wait, which ends at once or not.
            async with asyncio.timeout(0):
                await self._channel.connection.ready()
        except TimeoutError:
            return True
        return False

    async def send(self, messages: Sequence[Message]) -> None:
        """Publish all; see `saga.messaging.publisher.Publisher`."""
        if not self.open:
            raise Unavailable("the channel to the broker is closed")
        if await self.blocked():
            raise Unavailable("the broker blocks publishers")
        pending = list(messages)
        while pending:
            wave, pending = _distinct(pending)
            await self._send_wave(wave)

    async def check(self) -> None:
        """See `saga.messaging.publisher.Publisher`."""
        if not self.open:
            raise Unavailable("the channel to the broker is closed")
        if await self.blocked():
            raise Unavailable("the broker blocks publishers")
        with translate_driver_errors():
            missing = await run_shielded(missing_queues(self._connection, self._required), self._timeout)
        if missing:
            raise Unavailable(f"the broker has no queue named {', '.join(missing)} yet")

    async def backlog(self) -> int:
        """See `saga.messaging.publisher.BacklogAwarePublisher`."""
        with translate_driver_errors():
            waiting = await run_shielded(depths(self._connection, self._required), self._timeout)
        return sum(depth or 0 for depth in waiting.values())

    async def _send_wave(self, messages: Sequence[Message]) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                answers = await asyncio.gather(
                    *(self._publish(message) for message in messages), return_exceptions=True
                )
        except TimeoutError:
            raise Unavailable(f"the broker did not confirm within {self._timeout:g} s") from None
        for message, answer in zip(messages, answers, strict=True):
            if isinstance(answer, BaseException):
                what = f"a message to {message.exchange} with the key {message.routing_key}"
                raise as_unavailable(answer, what) or answer

    async def _publish(self, message: Message) -> None:
        await self._channel.basic_publish(
            message.body,
            exchange=message.exchange,
            routing_key=message.routing_key,
            mandatory=message.mandatory,
            wait=False,
            properties=Basic.Properties(
                content_type="application/json",
                delivery_mode=PERSISTENT,
                message_id=message.message_id,
                correlation_id=message.correlation_id,
                message_type=message.type,
                app_id=message.app_id,
                user_id=self._user,
                timestamp=message.timestamp,
                headers=dict(message.headers),
            ),
        )


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


def _distinct(messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    # The client library identifies a returned message by its message id alone: two with the same id are
    # never in flight together.
    wave: list[Message] = []
    rest: list[Message] = []
    ids: set[str] = set()
    for message in messages:
        if message.message_id in ids:
            rest.append(message)
            continue
        if message.message_id:
            ids.add(message.message_id)
        wave.append(message)
    return wave, rest
