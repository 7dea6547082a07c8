"""What the reading and writing of messages looks like, whatever carries them."""

from collections.abc import Sequence
from typing import Protocol

from saga.messaging.message import Delivery, Message


class Subscription(Protocol):
    """The deliveries of one queue, as long as one connection lives."""

    @property
    def closed(self) -> bool:
        """Nothing comes any more, and what was delivered before is void or being finished."""

    @property
    def held(self) -> Sequence[Delivery]:
        """What was delivered and not settled; once the connection is lost, what it was lost with."""

    async def take(self, limit: int) -> list[Delivery]:
        """Wait for a delivery; return what is there, up to `limit`. Empty: the inbox was closed."""

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Tell the broker that it may forget these."""

    async def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Let somebody have these again."""

    async def pause(self) -> None:
        """Stop deliveries, and give back those that nobody has taken."""

    async def resume(self) -> None:
        """Let deliveries come."""


class Publisher(Protocol):
    """The way out."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Publish, and wait until the broker has taken responsibility for every message.

        Raises:
            Unavailable: for at least one of them it has not, or nobody knows.
        """

    async def check(self) -> None:
        """Return if publishing may work.

        Raises:
            Unavailable: it cannot.
        """
