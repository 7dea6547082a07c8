"""A broker to test against, the real one or the one in memory, behind one face."""

from abc import ABC, abstractmethod

from operations.registry import TOPOLOGIES
from saga.messaging.publisher import Publisher
from saga.messaging.subscription import Subscription
from saga.messaging.users import user_of
from saga.rabbitmq.connection import Connection, connect, open_channel
from saga.rabbitmq.declare import bind_events, declare_bound, declare_own
from saga.rabbitmq.publisher import ConfirmingPublisher
from saga.rabbitmq.subscription import RabbitSubscription
from verification.simulation.adversary import Adversary, Process
from verification.simulation.broker import PREFETCH, MemoryBroker
from verification.simulation.broker import Connection as SimulatedConnection
from verification.simulation.trace import Trace


def peaceful(name: str = "test") -> Process:
    """Return a process in whose world nothing goes wrong and everything is fast."""
    adversary = Adversary(0, Trace())
    adversary.quiescing = True
    adversary.instant_call_share = 1.0
    return Process(name, adversary, lambda process: None)


class ConnectionDriver(ABC):
    """One connection to the broker."""

    publisher: Publisher

    @abstractmethod
    async def read(self, queue: str, prefetch: int = PREFETCH) -> Subscription:
        """Return a subscription with at most `prefetch` unacknowledged deliveries."""

    @abstractmethod
    async def stop_reading(self) -> None:
        """Close every subscription, as a stop does; deliveries taken before can still be settled."""

    @abstractmethod
    async def cut(self) -> None:
        """Lose the connection."""


class BrokerDriver(ABC):
    """A broker with everything that the three services declare."""

    @abstractmethod
    async def connect(self) -> ConnectionDriver:
        """Return a new connection."""


class MemoryConnection(ConnectionDriver):
    def __init__(self, connection: SimulatedConnection) -> None:
        self._connection = connection
        self.publisher = connection

    async def read(self, queue: str, prefetch: int = PREFETCH) -> Subscription:
        subscription = self._connection.read(queue, prefetch)
        await subscription.resume()
        return subscription

    async def stop_reading(self) -> None:
        await self._connection.stop_reading()

    async def cut(self) -> None:
        self._connection.cut("test")


class MemoryBrokerDriver(BrokerDriver):
    def __init__(self) -> None:
        self._process = peaceful()
        self._broker = MemoryBroker(self._process.adversary)
        self._broker.declare(list(TOPOLOGIES.values()))

    async def connect(self) -> ConnectionDriver:
        return MemoryConnection(self._broker.connect(self._process))


class RabbitConnection(ConnectionDriver):
    def __init__(self, connection: Connection, publisher: ConfirmingPublisher) -> None:
        self._connection = connection
        self._subscriptions: list[RabbitSubscription] = []
        self.publisher = publisher

    async def read(self, queue: str, prefetch: int = PREFETCH) -> Subscription:
        channel = await open_channel(self._connection, confirms=False)
        await channel.rpc.basic_qos(prefetch_count=prefetch)
        subscription = RabbitSubscription(channel, queue)
        self._subscriptions.append(subscription)
        await subscription.resume()
        return subscription

    async def stop_reading(self) -> None:
        for subscription in self._subscriptions:
            await subscription.close()

    async def cut(self) -> None:
        await self._connection.close()


class RabbitBrokerDriver(BrokerDriver):
    def __init__(self, url: str) -> None:
        self._url = url
        self._lines: list[Connection] = []

    async def declare(self) -> None:
        """Declare what the three services have."""
        async with await connect(self._url, "test") as connection:
            for topology in TOPOLOGIES.values():
                await declare_own(connection, topology)
            for topology in TOPOLOGIES.values():
                assert not await bind_events(connection, topology)
                await declare_bound(connection, topology)

    async def connect(self) -> ConnectionDriver:
        connection = await connect(self._url, "test")
        self._lines.append(connection)
        channel = await open_channel(connection, confirms=True)
        publisher = ConfirmingPublisher(connection, channel, [], user_of(self._url), timeout=5)
        return RabbitConnection(connection, publisher)

    async def close(self) -> None:
        """Close every connection."""
        for connection in self._lines:
            await connection.close()
