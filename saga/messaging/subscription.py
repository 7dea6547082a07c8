"""What a consumer expects of reading a queue."""

from collections.abc import Sequence
from typing import Protocol

from saga.messaging.message import Delivery


class Subscription(Protocol):
    """The deliveries of one queue, for the lifetime of one connection."""

    @property
    def closed(self) -> bool:
        """True once nothing more is delivered; earlier deliveries are invalid or being settled."""

    @property
    def unacknowledged(self) -> Sequence[Delivery]:
        """What was delivered and not settled, even after the connection was lost."""

    async def take(self, limit: int) -> list[Delivery]:
        """Wait for a delivery; return what has arrived, up to `limit`. Empty: the subscription is closed."""

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge deliveries: the broker may delete them."""

    async def requeue(self, deliveries: Sequence[Delivery]) -> None:
        """Return deliveries to the queue, for any reader of it."""

    async def pause(self) -> None:
        """Stop deliveries, and requeue those that were not taken yet."""

    async def resume(self) -> None:
        """Start deliveries, or continue after a pause."""
