"""The dead-letter queue of one service: looked through, and emptied of what was chosen."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import aiormq
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelNotFoundEntity, DeliveryError
from pamqp.commands import Basic
from rich.console import Console
from rich.progress import track

from operations.dead_letters.dead_letter import DeadLetter, DeadLetterFilter
from operations.errors import CommandFailed
from operations.event_tap import connected
from operations.publishing import as_amqp
from saga.messaging.message import replayed
from saga.messaging.topology import Topology
from saga.rabbitmq.rpc import CONNECTION_ERRORS, explain_rejection, run_shielded
from saga.rabbitmq.subscription import as_delivery

T = TypeVar("T")

ANSWER_SECONDS = 10.0
LOOKS, LOOK_EVERY = 100, 0.02
"""How often, and how many seconds apart, to look for what was given back."""

console = Console(stderr=True)


class DeadQueue:
    """The queue, with `total` letters in it when it was opened.

    What was taken is held, out of others' sight, until it is acknowledged or the queue is closed, which gives
    it back to where it was. The broker does the same when the connection is lost.
    """

    def __init__(
        self,
        topology: Topology,
        amqp_url: str,
        channel: AbstractChannel,
        underlay: aiormq.Channel,
        total: int,
    ) -> None:
        self.topology = topology
        self._url = amqp_url
        self.total = total
        self._channel = channel
        self._underlay = underlay
        self._held = 0

    async def letters(self, wanted: DeadLetterFilter, limit: int | None = None) -> AsyncIterator[DeadLetter]:
        """Yield those wanted of the letters that were there when the queue was opened, the oldest first.

        All of them are taken, whatever the limit: the broker puts what is given back behind what was given
        back before, and only a queue that was taken as a whole comes back in its order. What a replay puts
        away once more comes behind them, and is not taken again.
        """
        found = 0
        for _ in track(
            range(self.total),
            self.topology.dead,
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ):
            message = await _answer(self._underlay.basic_get(self.topology.dead))
            if isinstance(message.delivery, Basic.GetEmpty):
                return
            self._held += 1
            letter = DeadLetter(self.topology, as_delivery(message))
            if wanted.fits(letter) and (limit is None or found < limit):
                found += 1
                yield letter

    async def replay(self, letter: DeadLetter) -> None:
        """Have the service read a letter once more; only then is it taken out of this queue.

        A crash in between leaves it here too: it can be replayed again, which changes nothing more.

        Raises:
            CommandFailed: the broker has not confirmed it; the letter stays here.
        """
        message = replayed(letter.delivery, self.topology)
        exchange = await self._channel.get_exchange(message.exchange, ensure=False)
        await _answer(exchange.publish(as_amqp(message, self._url), message.routing_key, mandatory=True))
        await self.drop(letter)

    async def drop(self, letter: DeadLetter) -> None:
        """Take a letter out of the queue for good."""
        await _answer(self._underlay.basic_ack(letter.delivery.tag))
        self._held -= 1

    async def settle(self) -> None:
        """Give back what is still held, and wait a little until all of it can be seen again.

        Whoever looks next would otherwise miss it: the queue hears of it later than it answers. Somebody
        else may also have it already.
        """
        await _answer(self._underlay.basic_nack(0, multiple=True, requeue=True))
        for _ in range(LOOKS):
            if await self._count() >= self._held:
                return
            await asyncio.sleep(LOOK_EVERY)

    async def _count(self) -> int:
        declared = await _answer(self._underlay.queue_declare(self.topology.dead, passive=True))
        return int(declared.message_count or 0)


@asynccontextmanager
async def opened(amqp_url: str, topology: Topology) -> AsyncIterator[DeadQueue]:
    """Open the dead-letter queue of a service.

    Raises:
        CommandFailed: the broker cannot be reached or has no such queue, or the connection was lost.
    """
    async with connected(amqp_url) as channel:
        declared = await _answer(channel.declare_queue(topology.dead, passive=True))
        underlay = cast(aiormq.Channel, await channel.get_underlay_channel())
        total = int(declared.declaration_result.message_count or 0)
        queue = DeadQueue(topology, amqp_url, channel, underlay, total)
        try:
            yield queue
        finally:
            # A channel that is closed has given everything back; what closed it says why.
            if not underlay.is_closed:
                await queue.settle()


async def _answer(call: Coroutine[Any, Any, T]) -> T:
    """Return the broker's answer, or say in a line what it has not done."""
    try:
        return await run_shielded(call, ANSWER_SECONDS)
    except ChannelNotFoundEntity as error:
        raise CommandFailed(
            f"the broker says {error}: is the stack up? its services declare it, see `saga up`"
        ) from None
    except DeliveryError as error:
        raise CommandFailed(f"the broker did not take a message ({error}): it stays a dead letter") from None
    except CONNECTION_ERRORS as error:
        if told := explain_rejection(error):
            raise CommandFailed(told) from None
        cause = str(error) or type(error).__name__
        raise CommandFailed(
            f"the connection to the broker was lost ({cause}): every dead letter that was not done with is "
            "where it was"
        ) from None
