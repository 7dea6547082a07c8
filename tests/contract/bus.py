"""A broker to test against, the real one or the one in memory, behind one face."""

from abc import ABC, abstractmethod

import aio_pika
from aio_pika.abc import AbstractConnection

from saga.messaging.bus import Publisher, Subscription
from saga.messaging.users import user_of
from saga.rabbitmq.connection import open_channel
from saga.rabbitmq.declare import bind_events, declare_bound, declare_own
from saga.rabbitmq.publisher import ConfirmingPublisher
from saga.rabbitmq.subscription import RabbitSubscription
from verification.simulation.adversary import Adversary, Process
from verification.simulation.broker import PREFETCH, Connection, MemoryBroker
from verification.simulation.services import TOPOLOGIES
from verification.simulation.trace import Trace


def peaceful(name: str = "test") -> Process:
    """Return a process in whose world nothing goes wrong and everything is fast."""
    adversary = Adversary(0, Trace())
    adversary.calm = True
    adversary.hurry = 1.0
    return Process(name, adversary, lambda process: None)


class Line(ABC):
    """One connection to the broker."""

    outlet: Publisher

    @abstractmethod
    async def read(self, queue: str, prefetch: int = PREFETCH) -> Subscription:
        """Return an inbox that takes deliveries, and holds so many unsettled ones at most."""

    @abstractmethod
    async def stop_reading(self) -> None:
        """Close every inbox for good, as a stop does; what was taken can still be settled."""

    @abstractmethod
    async def cut(self) -> None:
        """Lose the connection."""


class Bus(ABC):
    """A broker with everything that the three services declare."""

    @abstractmethod
    async def connect(self) -> Line:
        """Return a new connection."""


class MemoryLine(Line):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.outlet = connection

    async def read(self, queue: str, prefetch: int = PREFETCH) -> Subscription:
        inbox = self._connection.read(queue, prefetch)
        await inbox.resume()
        return inbox

    async def stop_reading(self) -> None:
        await self._connection.stop_reading()

    async def cut(self) -> None:
        self._connection.cut("test")


class MemoryBus(Bus):
    def __init__(self) -> None:
        self._process = peaceful()
        self._broker = MemoryBroker(self._process.adversary)
        self._broker.declare(list(TOPOLOGIES.values()))

    async def connect(self) -> Line:
        return MemoryLine(self._broker.connect(self._process))


class RabbitLine(Line):
    def __init__(self, connection: AbstractConnection, outlet: ConfirmingPublisher) -> None:
        self._connection = connection
        self._inboxes: list[RabbitSubscription] = []
        self.outlet = outlet

    async def read(self, queue: str, prefetch: int = PREFETCH) -> Subscription:
        channel, lost = await open_channel(self._connection, confirms=False)
        await channel.basic_qos(prefetch_count=prefetch)
        inbox = RabbitSubscription(channel, lost, queue)
        self._inboxes.append(inbox)
        await inbox.resume()
        return inbox

    async def stop_reading(self) -> None:
        for inbox in self._inboxes:
            await inbox.close()

    async def cut(self) -> None:
        await self._connection.close()


class RabbitBus(Bus):
    def __init__(self, url: str) -> None:
        self._url = url
        self._lines: list[AbstractConnection] = []

    async def declare(self) -> None:
        """Declare what the three services have."""
        async with await aio_pika.connect(self._url) as connection:
            for topology in TOPOLOGIES.values():
                await declare_own(connection, topology)
            for topology in TOPOLOGIES.values():
                assert not await bind_events(connection, topology)
                await declare_bound(connection, topology)

    async def connect(self) -> Line:
        connection = await aio_pika.connect(self._url)
        self._lines.append(connection)
        channel, lost = await open_channel(connection, confirms=True)
        outlet = ConfirmingPublisher(connection, channel, lost, [], user_of(self._url), timeout=5)
        return RabbitLine(connection, outlet)

    async def close(self) -> None:
        """Close every connection."""
        for connection in self._lines:
            await connection.close()
