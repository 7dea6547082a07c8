"""The dead-letter queue of one service: looked through, and emptied of what was chosen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console
from rich.progress import track

from operations.broker_session import broker_session
from operations.dead_letters.dead_letter import DeadLetter, DeadLetterFilter
from saga.messaging.message import replayed
from saga.messaging.topology import Topology
from saga.rabbitmq.session import QueueBrowser, Session

console = Console(stderr=True)


class DeadLetterQueue:
    """The queue; while it is open, the messages that were taken are out of others' sight."""

    def __init__(self, topology: Topology, session: Session, browser: QueueBrowser) -> None:
        self.topology = topology
        self._session = session
        self._browser = browser

    @property
    def total(self) -> int:
        """How many letters were in it when it was opened."""
        return self._browser.total

    async def letters(
        self, selected_by: DeadLetterFilter, limit: int | None = None
    ) -> AsyncIterator[DeadLetter]:
        """Yield the selected ones of the letters that were there when the queue was opened, the oldest first.

        All of them are taken, whatever the limit: the broker puts a requeued message behind those that were
        requeued before it, and only a queue that was taken as a whole comes back in its order. A letter that
        is replayed and dead-lettered again comes behind them, and is not taken again.
        """
        found = 0
        for _ in track(
            range(self.total),
            self.topology.dead_letter_queue,
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ):
            if (delivery := await self._browser.take()) is None:
                return
            letter = DeadLetter(self.topology, delivery)
            if selected_by.fits(letter) and (limit is None or found < limit):
                found += 1
                yield letter

    async def replay(self, letter: DeadLetter) -> None:
        """Have the service read a letter again; only then is it taken out of this queue.

        A crash in between leaves it here too: it can be replayed again, which changes nothing more.

        Raises:
            Unavailable: the broker has not confirmed it; the letter stays here.
        """
        await self._session.publish(replayed(letter.delivery, self.topology))
        await self.drop(letter)

    async def drop(self, letter: DeadLetter) -> None:
        """Take a letter out of the queue for good."""
        await self._browser.remove(letter.delivery)


@asynccontextmanager
async def opened(amqp_url: str, topology: Topology) -> AsyncIterator[DeadLetterQueue]:
    """Open the dead-letter queue of a service.

    Raises:
        CommandFailed: the broker cannot be reached or has no such queue, or the connection was lost, or a
            letter could not be replayed.
    """
    stays = ": every dead letter that was not replayed or dropped is where it was"
    async with (
        broker_session(amqp_url, stays) as session,
        session.browse(topology.dead_letter_queue) as browser,
    ):
        yield DeadLetterQueue(topology, session, browser)
