"""What services expect of publishing."""

from collections.abc import Sequence
from typing import Protocol

from saga.messaging.message import Message


class Publisher(Protocol):
    """Publishes messages, confirmed."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Publish, and wait until the broker has taken responsibility for every message.

        Raises:
            Unavailable: it has not for at least one of them, or that is unknown.
        """

    async def check(self) -> None:
        """Return if publishing can be expected to work.

        Raises:
            Unavailable: it cannot.
        """


class BacklogAwarePublisher(Publisher, Protocol):
    """A publisher that knows how far behind its readers are."""

    async def backlog(self) -> int:
        """Return how many messages wait in the service's own queue and those that it publishes for.

        Raises:
            Unavailable: the broker cannot be asked.
        """
