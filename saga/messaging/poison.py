"""Which messages may crash the process that reads them.

The broker counts how often it has delivered a message and not got it settled. Most of these redeliveries are
harmless: the process that had the message lives on, and remembers so. The others may be crashes, and after a
few of them the message is read alone; if it then still crashes its reader, it is poison.
"""

from collections.abc import Iterable
from hashlib import sha256

from saga.messaging.message import Delivery

QUARANTINE_AFTER = 2
"""Possible crashes after which a message is read alone."""
POISON_AFTER = 3
"""Crashes of a reader that had this message alone after which it is taken for poison."""
REPUBLISH_AFTER = 20
"""Redeliveries after which a harmless message is republished, long before it reaches the broker's limit."""
MAX_REMEMBERED = 10_000
"""Messages whose harmless redeliveries are remembered; beyond that, the oldest are forgotten."""


class CrashCounter:
    """Counts the crashes of readers that each message may have caused."""

    def __init__(self) -> None:
        self._harmless: dict[str, int] = {}
        """Redeliveries known not to have crashed this process, by message id."""

    def record_harmless(self, deliveries: Iterable[Delivery]) -> None:
        """Remember that this process has survived these, which will be delivered to it again."""
        for delivery in deliveries:
            key = _key(delivery)
            self._harmless[key] = self._harmless.pop(key, 0) + 1
        while len(self._harmless) > MAX_REMEMBERED:
            del self._harmless[next(iter(self._harmless))]

    def forget(self, delivery: Delivery) -> None:
        """Start counting from zero, as the broker does for a message that is republished."""
        self._harmless.pop(_key(delivery), None)

    def is_suspect(self, delivery: Delivery) -> bool:
        """Tell whether a message has to be read alone from now on."""
        return self._crashes(delivery) >= QUARANTINE_AFTER

    def is_poison(self, delivery: Delivery) -> bool:
        """Tell whether a message that is read alone must not be read again."""
        return self._crashes(delivery) >= POISON_AFTER

    def nears_limit(self, delivery: Delivery) -> bool:
        """Tell whether the broker would soon dead-letter a message that is harmless."""
        return delivery.redeliveries >= REPUBLISH_AFTER and not self.is_suspect(delivery)

    def _crashes(self, delivery: Delivery) -> int:
        return max(0, delivery.redeliveries - self._harmless.get(_key(delivery), 0))


def _key(delivery: Delivery) -> str:
    return delivery.message_id or sha256(delivery.body).hexdigest()
