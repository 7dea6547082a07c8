"""The three services, assembled from production parts as their `__main__` modules do, but in the world."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from events.catalogue import INVENTORY, ORDER, SERVICES, Event
from inventory_service.application import InventoryApplication
from inventory_service.reservation import Reservation
from operations.registry import TOPOLOGIES
from order_service.application import OrderApplication
from order_service.order import Order
from payment_service.application import PaymentApplication
from payment_service.payment import Payment
from payment_service.reactions import Retries
from saga.errors import Unavailable
from saga.messaging.consumer import BatchConsumer
from saga.messaging.message import Message
from saga.messaging.results import Result
from saga.messaging.topology import Topology
from saga.reactions.application import Application
from saga.reactions.runner import HandOver
from saga.timers.nudge import Nudge
from saga.timers.relay import Relay
from verification.invariants.names import Finding, Invariant
from verification.simulation.adversary import Adversary, Process
from verification.simulation.broker import PREFETCH, Connection, MemoryBroker
from verification.simulation.clock import Sleep, utc_clock
from verification.simulation.provider import Ledger, ProviderDoor
from verification.simulation.stock import MemoryInventory, Shelves
from verification.simulation.store import MemoryAggregates, MemoryStore, Table

T = TypeVar("T")

DEFAULT_HOLD = timedelta(seconds=600)
CALL_TIMEOUT = 4.0
FIRST_PAUSE = 0.2
DRAIN_TIMEOUT = 10.0
SETTLING = 0.1
"""How often a killer looks whether its process reads somebody else alone."""
CALM = 6
"""How much more slowly the sweepers' clocks strike when no faults are left to look for."""


@dataclass
class RateLimit:
    """How often the clocks of the services strike, in seconds."""

    sweep: float
    patience: float
    refund_attempts: int = 1
    nudge: bool = False
    """Whether those are nudged that do not move, as after a broker has lost everything."""


@dataclass
class Environment:
    """What outlives every process: databases, broker, provider."""

    adversary: Adversary
    broker: MemoryBroker
    ledger: Ledger
    pace: RateLimit
    tables: dict[str, Table] = field(default_factory=lambda: {service: {} for service in SERVICES})
    shelves: Shelves = field(default_factory=Shelves)
    paid_directly: set[str] = field(default_factory=set)
    """Orders that somebody has charged the customer for over HTTP."""
    deadly: dict[str, str] = field(default_factory=dict)
    """Events that kill whoever handles them: the id, and at which service."""
    to_be_put_away: set[tuple[str, bytes]] = field(default_factory=set)
    """What must end in a dead-letter queue: the queue, and what the body contains."""
    may_be_put_away: set[tuple[str, bytes]] = field(default_factory=set)
    """What may have been lost on its way there, or is there still, since the broker has lost everything."""
    crashes: list[Finding] = field(default_factory=list)
    """Processes that ended with an exception."""

    def stored(self, service: str) -> set[str]:
        """Return the orders of whose sagas a service has stored more than that their request was turned away.

        What was held by hand under the id of an order, before its request came, knows nothing of a saga.
        """
        states = {key: row.state for key, row in self.tables[service].items()}
        return {
            key
            for key, state in states.items()
            if not isinstance(state, Reservation) or (state.saga and not state.rejected_or_expired)
        }


class Link:
    """Keeps a process connected to the broker, as `saga.rabbitmq.client.BrokerClient` does."""

    def __init__(self, outside: Environment, process: Process, declared: Topology) -> None:
        self._outside = outside
        self._process = process
        self._topology = declared
        self._connection: Connection | None = None
        self._stopping = asyncio.Event()

    async def send(self, messages: Sequence[Message]) -> None:
        """Publish over the current connection."""
        if self._connection is None:
            raise Unavailable("not connected to the broker")
        await self._connection.send(messages)

    async def check(self) -> None:
        """Return if publishing may work."""
        await self._process.live()
        if self._connection is None:
            raise Unavailable("not connected to the broker")
        await self._connection.check()

    async def backlog(self) -> int:
        """Return how many messages wait for this service and those that it publishes for."""
        await self._process.reach("asking for the backlog")
        names = [self._topology.queue, *self._topology.required_queues]
        return sum(len(self._outside.broker.queues[name].waiting) for name in names)

    def lose(self, why: str) -> None:
        """Lose the connection."""
        if self._connection is not None:
            self._connection.cut(why)

    async def stop(self) -> None:
        """Take nothing more; `run` returns when what was taken is done."""
        self._stopping.set()
        if self._connection is not None:
            await self._connection.stop_reading()

    async def run(self, consumers: Sequence[BatchConsumer]) -> None:
        """Read with these intakes until `stop`; connect again whenever the connection is lost."""
        while not self._stopping.is_set():
            await self._process.reach("connecting")
            self._connection = self._outside.broker.connect(self._process)
            await self._read(consumers, self._connection)
            self._connection = None
            await asyncio.sleep(FIRST_PAUSE)

    async def _read(self, consumers: Sequence[BatchConsumer], connection: Connection) -> None:
        readers = [
            asyncio.create_task(
                consumer.run(
                    connection.read(consumer.queue, 1 if consumer.quarantined else PREFETCH), connection
                )
            )
            for consumer in consumers
        ]
        stopping = asyncio.create_task(self._stopping.wait())
        ends: list[asyncio.Future[Any]] = [*readers, connection.lost, stopping]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if self._process.dead:
            return
        if self._stopping.is_set():
            await asyncio.wait(readers, timeout=DRAIN_TIMEOUT)
            connection.cut("the process stops")
        stopping.cancel()
        for reader in readers:
            if reader.done():
                reader.result()
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        for consumer in consumers:
            await consumer.abandon()


class Replica:
    """One run of one service process."""

    def __init__(
        self,
        outside: Environment,
        service: str,
        name: str,
        skew: float,
        on_death: Callable[["Replica"], None],
    ) -> None:
        self.service = service
        self.name = name
        self.process = Process(name, outside.adversary, lambda process: self._dies(on_death))
        self._outside = outside
        self._link = Link(outside, self.process, TOPOLOGIES[service])
        self._loop = asyncio.get_running_loop()
        self._clock = utc_clock(self._loop, skew)
        self._relay: Relay
        self._nudge: Nudge
        self.stock: MemoryInventory
        """The store of an inventory service."""
        self.application = self._assemble()
        self._reading = asyncio.create_task(self._link.run(self._consumers()))
        task = asyncio.gather(self._reading, self._relay.run(), self._sweeping())
        task.add_done_callback(self._ended)

    @property
    def orders(self) -> OrderApplication:
        """The application of an order service."""
        return self._as(OrderApplication)

    @property
    def inventory(self) -> InventoryApplication:
        """The application of an inventory service."""
        return self._as(InventoryApplication)

    @property
    def payments(self) -> PaymentApplication:
        """The application of a payment service."""
        return self._as(PaymentApplication)

    def _as(self, kind: type[T]) -> T:
        if not isinstance(self.application, kind):
            raise TypeError(f"{self.name} is no {kind.__name__}")
        return self.application

    async def drain(self) -> None:
        """Stop as on SIGTERM: finish what is in hand, then end."""
        self.process.note("drains")
        await self._link.stop()
        await asyncio.wait([self._reading], timeout=DRAIN_TIMEOUT)
        if not self.process.dead:
            self.process.end("stopped")

    def _assemble(self) -> Application[Any, Any]:
        outside, clock, process = self._outside, self._clock, self.process
        table = outside.tables[self.service]
        if self.service == ORDER:
            orders = MemoryStore(table, Order, clock, process)
            return OrderApplication(orders, self._relay_of(orders), clock)
        if self.service == INVENTORY:
            self.stock = MemoryInventory(table, outside.shelves, clock, DEFAULT_HOLD, process)
            return InventoryApplication(self.stock, self._relay_of(self.stock), clock)
        payments = MemoryStore(table, Payment, clock, process)
        return PaymentApplication(
            payments,
            self._relay_of(payments),
            ProviderDoor(outside.ledger, process),
            clock,
            CALL_TIMEOUT,
            Retries(outside.pace.refund_attempts),
        )

    def _relay_of(self, store: MemoryAggregates[Any]) -> HandOver:
        self._relay = Relay(self.service, self._link, store, self._clock, self._outside.pace.patience)
        self._nudge = Nudge(self.service, self._link, store, self._clock)
        return self._relay.hand_over

    def _consumers(self) -> list[BatchConsumer]:
        return [
            BatchConsumer(
                TOPOLOGIES[self.service],
                partial(self._handle, quarantined),
                self.application.available,
                quarantined=quarantined,
                clock=self._clock,
            )
            for quarantined in (False, True)
        ]

    async def _handle(self, quarantined: bool, events: Sequence[Event]) -> Sequence[Result]:
        deadly = self._outside.deadly
        if deadly and any(deadly.get(str(event.event_id)) == self.service for event in events):
            await self.process.reach("handling what kills it")
            while self.process.spared and not quarantined:
                # Three deaths in a row of another one that is read alone would be taken for its doing.
                await asyncio.sleep(SETTLING)
                await self.process.live()
            self.process.kill("by a message")
            await self.process.live()
        return await self.application.handle(events)

    async def _sweeping(self) -> None:
        while not self.process.dead:
            await Sleep(self._loop, self._outside.pace.sweep * (CALM if self._outside.adversary.calm else 1))
            if not self._has_something_to_do():
                continue
            try:
                for sweep in self.application.sweeps:
                    await sweep()
                if self._outside.pace.nudge:
                    await self._nudge.sweep()
            except Unavailable as why:
                self.process.note(f"sweep waits: {why}")

    def _has_something_to_do(self) -> bool:
        now, nudge = self._clock(), self._outside.pace.nudge
        return any(
            (row.due_at and row.due_at <= now) or (nudge and row.nudge_at and row.nudge_at <= now)
            for row in self._outside.tables[self.service].values()
        )

    def _dies(self, on_death: Callable[["Replica"], None]) -> None:
        self._link.lose("its process died")
        on_death(self)

    def _ended(self, task: "asyncio.Future[tuple[None, None, None]]") -> None:
        if not task.cancelled() and (error := task.exception()):
            self._outside.crashes.append(Finding(Invariant.NO_CRASH, self.name, f"died of {error!r}"))
