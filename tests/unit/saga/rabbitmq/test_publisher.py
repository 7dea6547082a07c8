"""What the client library raises while something is published means that the broker is unavailable."""

import asyncio
from typing import Any, cast

import aiormq
import pytest
from aio_pika.abc import AbstractConnection

from events.catalogue import InventoryConfirmed
from saga.errors import Unavailable
from saga.messaging.message import to_message
from saga.rabbitmq.publisher import ConfirmingPublisher
from tests.support.builders import event


class Channel:
    """A channel whose publishing fails."""

    def __init__(self, error: BaseException) -> None:
        self.is_closed = False
        self.connection = self
        self._error = error

    async def ready(self) -> None:
        """The broker blocks no connection."""

    async def basic_publish(self, body: bytes, **_: Any) -> None:
        raise self._error


@pytest.mark.parametrize(
    "error",
    [Exception(), ConnectionError("gone"), asyncio.CancelledError(), RuntimeError("closed")],
    ids=["clean close", "gone", "silent", "closed"],
)
async def test_a_lost_connection_means_an_unavailable_broker(error: BaseException) -> None:
    channel = cast(aiormq.Channel, Channel(error))
    publisher = ConfirmingPublisher(cast(AbstractConnection, None), channel, asyncio.Future(), [], "guest")
    with pytest.raises(Unavailable, match="connection to the broker was lost"):
        await publisher.send([to_message(event(InventoryConfirmed))])


async def test_programming_error_is_not_translated() -> None:
    channel = cast(aiormq.Channel, Channel(ValueError("a mistake")))
    publisher = ConfirmingPublisher(cast(AbstractConnection, None), channel, asyncio.Future(), [], "guest")
    with pytest.raises(ValueError, match="a mistake"):
        await publisher.send([to_message(event(InventoryConfirmed))])
