"""How a service comes back to its broker, on a virtual clock."""

import asyncio
from collections.abc import Sequence

import pytest

from events.catalogue import INVENTORY
from operations.registry import TOPOLOGIES
from saga.messaging.consumer import BatchConsumer
from saga.rabbitmq.client import LONGEST_PAUSE, STEADY_AFTER, BrokerClient
from verification.simulation.clock import VirtualLoop

TRIES = 40


class ReconnectingClient(BrokerClient):
    """One whose connections hold for so long each."""

    def __init__(self, holds: float, loop: VirtualLoop) -> None:
        super().__init__("amqp://unknown", TOPOLOGIES[INVENTORY])
        self._holds = holds
        self._loop = loop
        self.began: list[float] = []

    async def _serve(self, consumers: Sequence[BatchConsumer]) -> None:
        self.began.append(self._loop.time())
        if len(self.began) == TRIES:
            await self.stop()
        await asyncio.sleep(self._holds)


def pauses(holds: float) -> list[float]:
    """Return how long such a service waits between one connection and the next."""
    loop = VirtualLoop()
    rabbit = ReconnectingClient(holds, loop)
    try:
        loop.run_until_complete(rabbit.run([]))
    finally:
        loop.discard()
    return [later - earlier - holds for earlier, later in zip(rabbit.began, rabbit.began[1:], strict=False)]


def test_reconnecting_slows_down_while_connections_fail() -> None:
    assert all(pause > LONGEST_PAUSE / 2 - 0.1 for pause in pauses(0.1)[10:])


def test_a_connection_that_has_held_is_retried_at_once() -> None:
    assert pauses(STEADY_AFTER + 1) == pytest.approx([0.2] * (TRIES - 1), abs=0.25)
