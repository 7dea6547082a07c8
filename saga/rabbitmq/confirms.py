"""What the broker says of published messages: confirmed, refused, or returned because no queue takes them."""

import asyncio
from collections.abc import Sequence
from itertools import takewhile

from saga.errors import Unavailable
from saga.messaging.message import Message
from saga.rabbitmq.errors import ConnectionLost, Unconfirmed, Unroutable, as_unavailable


class Confirms:
    """Awaits the confirms of one channel, which the broker numbers from 1."""

    def __init__(self) -> None:
        self._last = 0
        self._awaited: dict[int, tuple[Message, _Batch]] = {}

    def expect(self, messages: Sequence[Message]) -> "asyncio.Future[Unavailable | None]":
        """Return what ends once these, just published, are confirmed; its result is a refusal, if any."""
        batch = _Batch(len(messages))
        for message in messages:
            self._last += 1
            self._awaited[self._last] = message, batch
        return batch.result

    def confirmed(self, number: int, multiple: bool, accepted: bool) -> None:
        """Take note that the broker has accepted, or refused, a message, or all up to this one."""
        numbers = list(takewhile(number.__ge__, self._awaited)) if multiple else [number]
        for each in numbers:
            if awaited := self._awaited.pop(each, None):
                message, batch = awaited
                refusal = None if accepted else f"the broker did not accept {_named(message)}"
                batch.settle(Unconfirmed(refusal) if refusal else None)

    def returned(self, exchange: str, key: str, message_id: str | None) -> None:
        """Take note that no queue takes a message, which the broker confirms afterwards all the same.

        It does not say which one: of one id and one route, all count as returned.
        """
        for message, batch in self._awaited.values():
            if (message.exchange, message.routing_key, message.message_id) == (exchange, key, message_id):
                batch.refuse(Unroutable(f"no queue takes {_named(message)}"))

    def lost(self, error: BaseException | None) -> None:
        """Take note that nothing more is confirmed."""
        for _, batch in self._awaited.values():
            why = as_unavailable(error) if error else None
            batch.settle(why or ConnectionLost(f"the channel to the broker was lost ({error!r})"))
        self._awaited.clear()


class _Batch:
    """The messages of one call: how many are not settled yet, and the first refusal."""

    __slots__ = ("_missing", "_refusal", "result")

    def __init__(self, count: int) -> None:
        self._missing = count
        self._refusal: Unavailable | None = None
        self.result: asyncio.Future[Unavailable | None] = asyncio.get_running_loop().create_future()

    def refuse(self, why: Unavailable) -> None:
        self._refusal = self._refusal or why

    def settle(self, refusal: Unavailable | None) -> None:
        if refusal:
            self.refuse(refusal)
        self._missing -= 1
        if not self._missing and not self.result.done():
            self.result.set_result(self._refusal)


def _named(message: Message) -> str:
    return f"a message to {message.exchange} with the key {message.routing_key}"
