"""One service's link to RabbitMQ: connects, declares, reads, publishes, and does it again when cut off."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from urllib.parse import urlsplit

import structlog
from aio_pika.abc import AbstractConnection

from saga.backoff import backoff, jittered
from saga.errors import Unavailable
from saga.messaging.consumer import BatchConsumer
from saga.messaging.message import Message
from saga.messaging.topology import Topology
from saga.messaging.users import user_of
from saga.rabbitmq.connection import Connection, connect, open_channel
from saga.rabbitmq.declare import bind_events, declare_bound, declare_own
from saga.rabbitmq.errors import CONNECTION_ERRORS, explain_rejection
from saga.rabbitmq.publisher import ConfirmingPublisher, missing_queues
from saga.rabbitmq.rpc import run_shielded
from saga.rabbitmq.subscription import RabbitSubscription

log = structlog.get_logger()

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
STEADY_AFTER = 10.0
"""After a connection that lasted this many seconds, the backoff starts again; shorter ones keep growing it.
Whenever a connection ends, all its unacknowledged messages count as redelivered."""
DEPENDENCY_POLL_INTERVAL = 0.3
HEARTBEAT = 15
"""Seconds between two heartbeats, unless the broker's URL sets them (`?heartbeat=5`). A silent connection is
abandoned after a little more than three times that."""
SETUP_TIMEOUT = 30.0
"""Seconds that each step of setting up a connection may take; a broker can accept connections and not
answer."""
CLOSE_TIMEOUT = 5.0
"""Seconds that closing a connection may take; closing one that no longer leads to a broker takes minutes."""


class BrokerClient:
    """Keeps a service connected until `stop`: declares, reads, publishes, and reconnects.

    Publishing and reading have a connection each: a broker that is short of memory stops reading from
    connections that publish, and acknowledgements must get through all the same.
    """

    def __init__(
        self,
        url: str,
        topology: Topology,
        *,
        prefetch: int = 200,
        publish_timeout: float = 10.0,
        drain_timeout: float = 10.0,
    ) -> None:
        self._url = url
        self.topology = topology
        self._prefetch = prefetch
        self._publish_timeout = publish_timeout
        self._drain_timeout = drain_timeout
        self._publisher: ConfirmingPublisher | None = None
        self._subscriptions: list[RabbitSubscription] = []
        self._stopping = asyncio.Event()
        self._awaited: list[str] = ["a connection"]

    @property
    def user(self) -> str:
        """The user that the service logs in as."""
        return user_of(self._url)

    @property
    def reading(self) -> bool:
        """Every queue of the service is being read, and what follows can be published."""
        return (
            self._publisher is not None
            and self._publisher.open
            and bool(self._subscriptions)
            and all(subscription.consuming for subscription in self._subscriptions)
        )

    @property
    def waits_for(self) -> list[str]:
        """The objects at the broker that are missing before the service can start reading."""
        return self._awaited

    async def send(self, messages: Sequence[Message]) -> None:
        """Publish over the current connection; see `saga.messaging.publisher.Publisher`."""
        if self._publisher is None:
            raise Unavailable("not connected to the broker")
        await self._publisher.send(messages)

    @property
    def blocked(self) -> bool:
        """The broker has asked publishers to wait."""
        return self._publisher is not None and self._publisher.blocked

    async def check(self) -> None:
        """See `saga.messaging.publisher.Publisher`."""
        if self._publisher is None:
            raise Unavailable("not connected to the broker")
        await self._publisher.check()

    async def backlog(self) -> int:
        """See `saga.messaging.publisher.BacklogAwarePublisher`."""
        if self._publisher is None:
            raise Unavailable("not connected to the broker")
        return await self._publisher.backlog()

    async def run(self, consumers: Sequence[BatchConsumer]) -> None:
        """Read with these consumers until `stop`; connect again whenever the connection is lost."""
        pause = FIRST_PAUSE
        clock = asyncio.get_running_loop().time
        while not self._stopping.is_set():
            started = clock()
            try:
                await self._serve(consumers)
            except CONNECTION_ERRORS as error:
                self._report(error)
            else:
                self._awaited = ["a connection"]
            if clock() - started > STEADY_AFTER:
                pause = FIRST_PAUSE
            with suppress(TimeoutError):
                async with asyncio.timeout(jittered(pause)):
                    await self._stopping.wait()
            pause = backoff(pause, 1, LONGEST_PAUSE)

    async def stop(self) -> None:
        """Take no more messages; `run` returns once those that were taken are settled."""
        self._stopping.set()
        await asyncio.gather(*(subscription.close() for subscription in self._subscriptions))

    async def _serve(self, consumers: Sequence[BatchConsumer]) -> None:
        async with AsyncExitStack() as stack:
            stack.callback(self._disconnected)
            writing = await self._connect(stack, "publish")
            reading = await self._connect(stack, "consume")
            await run_shielded(declare_own(reading, self.topology), SETUP_TIMEOUT)
            publisher = await run_shielded(self._open_publisher(writing), SETUP_TIMEOUT)
            if not await self._wait_for_neighbours(reading):
                return
            # Not before the neighbours are bound: an event that not every queue gets must not count as
            # published.
            self._publisher = publisher
            self._subscriptions = [
                await run_shielded(self._open_subscription(reading, consumer), SETUP_TIMEOUT)
                for consumer in consumers
            ]
            if self._stopping.is_set():
                return
            log.info("reading_started", service=self.topology.service)
            await self._read(consumers, publisher)

    async def _connect(self, stack: AsyncExitStack, purpose: str) -> Connection:
        heartbeat = None if "heartbeat=" in urlsplit(self._url).query else HEARTBEAT
        async with asyncio.timeout(self._publish_timeout):
            connection = await connect(self._url, f"{self.topology.service} {purpose}", heartbeat=heartbeat)
        stack.push_async_callback(_close, connection)
        return connection

    async def _open_publisher(self, connection: Connection) -> ConfirmingPublisher:
        return ConfirmingPublisher(
            connection,
            await open_channel(connection, confirms=True),
            [self.topology.queue, *self.topology.required_queues],
            self.user,
            self._publish_timeout,
        )

    async def _open_subscription(self, connection: Connection, consumer: BatchConsumer) -> RabbitSubscription:
        channel = await open_channel(connection, confirms=False)
        await channel.rpc.basic_qos(prefetch_count=1 if consumer.quarantined else self._prefetch)
        return RabbitSubscription(channel, consumer.queue)

    async def _wait_for_neighbours(self, connection: AbstractConnection) -> bool:
        # Services start in any order: the exchanges to bind to and the queues that must take what this one
        # publishes may come later.
        while not self._stopping.is_set():
            self._awaited = await run_shielded(self._missing(connection), SETUP_TIMEOUT)
            if not self._awaited:
                return True
            log.info("waiting_for_neighbours", service=self.topology.service, missing=self._awaited)
            with suppress(TimeoutError):
                async with asyncio.timeout(DEPENDENCY_POLL_INTERVAL):
                    await self._stopping.wait()
        return False

    async def _missing(self, connection: AbstractConnection) -> list[str]:
        unbound = await bind_events(connection, self.topology)
        if not unbound:
            await declare_bound(connection, self.topology)
        return [*unbound, *await missing_queues(connection, self.topology.required_queues)]

    async def _read(
        self,
        consumers: Sequence[BatchConsumer],
        publisher: ConfirmingPublisher,
    ) -> None:
        readers = [
            asyncio.create_task(consumer.run(subscription, publisher))
            for consumer, subscription in zip(consumers, self._subscriptions, strict=True)
        ]
        lost = [asyncio.ensure_future(publisher.lost())]
        lost += [asyncio.ensure_future(subscription.lost()) for subscription in self._subscriptions]
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([*readers, *lost, stopping], return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set():
                await asyncio.wait(readers, timeout=self._drain_timeout)
            for reader in readers:
                if reader.done():
                    reader.result()
        finally:
            for task in [*readers, *lost, stopping]:
                task.cancel()
            await asyncio.gather(*readers, *lost, stopping, return_exceptions=True)
            for consumer in consumers:
                await consumer.abandon()

    def _report(self, error: BaseException) -> None:
        if explanation := explain_rejection(error):
            log.error("broker_rejected", service=self.topology.service, user=self.user, error=explanation)
            self._awaited = [explanation]
            return
        log.warning("broker_unreachable", service=self.topology.service, error=repr(error))
        self._awaited = [f"a connection ({error})"]

    def _disconnected(self) -> None:
        self._publisher = None
        self._subscriptions = []


async def _close(connection: AbstractConnection) -> None:
    with suppress(*CONNECTION_ERRORS):
        await run_shielded(connection.close(), CLOSE_TIMEOUT)
