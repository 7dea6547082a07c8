"""The three services, assembled from production parts, but in the simulated environment."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from events.catalogue import INVENTORY, ORDER, SERVICES, Event
from events.values import DEFAULT_HOLD
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
from saga.reactions.application import Application, Surroundings
from saga.reactions.cache import PublishedEvents
from saga.reactions.unit_of_work import Patience
from saga.timers.nudge import Nudge
from saga.timers.relay import Relay
from saga.timers.wake_ups import WakeUps
from verification.invariants.names import Finding, Invariant
from verification.simulation.adversary import Adversary, Process
from verification.simulation.broker import PREFETCH, Connection, MemoryBroker
from verification.simulation.clock import Sleep, utc_clock
from verification.simulation.provider import Ledger, LedgerProvider
from verification.simulation.stock import MemoryInventory, StockTable
from verification.simulation.store import MemoryStore, Table

T = TypeVar("T")

CALL_TIMEOUT = 4.0
FIRST_PAUSE = 0.2
DRAIN_TIMEOUT = 10.0
RECHECK_INTERVAL = 0.1
"""Seconds until a poison message checks again whether another one is in quarantine."""
QUIESCENT_FACTOR = 6
"""How much longer the sweepers sleep once no faults are left."""
NEVER = timedelta(days=3650)
CACHE_LIMITS = (0, 1, 100, 100)
"""How many aggregates a process remembers: with few, most are read, and with many, most are assumed."""


@dataclass
class Intervals:
    """The intervals of the services' timers, in seconds."""

    sweep: float
    relay_after: float
    refund_attempts: int = 1
    nudge: bool = False
    """Whether orders without progress are nudged, as after a broker has lost all messages."""

    def patience(self) -> Patience:
        """Return how long saved aggregates are left alone."""
        return Patience(timedelta(seconds=self.relay_after), timedelta(minutes=1) if self.nudge else NEVER)


@dataclass
class Environment:
    """What outlives every process: databases, broker, provider."""

    adversary: Adversary
    broker: MemoryBroker
    ledger: Ledger
    intervals: Intervals
    tables: dict[str, Table] = field(default_factory=lambda: {service: {} for service in SERVICES})
    stock_table: StockTable = field(default_factory=StockTable)
    paid_directly: set[str] = field(default_factory=set)
    """Orders whose customer was charged directly."""
    poison_events: dict[str, str] = field(default_factory=dict)
    """Events that crash the process that handles them: by id, the service that crashes."""
    expected_dead_letters: set[tuple[str, bytes]] = field(default_factory=set)
    """What must end in a dead-letter queue: the queue, and a part of the body."""
    possible_dead_letters: set[tuple[str, bytes]] = field(default_factory=set)
    """What may be there or not, since the broker has lost all messages."""
    crashes: list[Finding] = field(default_factory=list)
    """Processes that ended with an exception."""

    def stored(self, service: str) -> set[str]:
        """Return the orders of which a service has stored more than a refused request.

        Stock that was held directly under the id of an order, before its request came, belongs to no saga.
        """
        states = {key: row.state for key, row in self.tables[service].items()}
        return {
            key
            for key, state in states.items()
            if not isinstance(state, Reservation) or (state.saga and not state.rejected_or_expired)
        }


class SimulatedConnection:
    """Keeps a process connected to the broker, as `saga.rabbitmq.client.BrokerClient` does."""

    def __init__(self, environment: Environment, process: Process, declared: Topology) -> None:
        self._environment = environment
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
        """Return how many messages wait for this service and for those it publishes to."""
        await self._process.reach("asking for the backlog")
        names = [self._topology.queue, *self._topology.required_queues]
        return sum(len(self._environment.broker.queues[name].waiting) for name in names)

    def lose(self, why: str) -> None:
        """Lose the connection."""
        if self._connection is not None:
            self._connection.cut(why)

    async def stop(self) -> None:
        """Take no more messages; `run` returns once those taken are handled."""
        self._stopping.set()
        if self._connection is not None:
            await self._connection.stop_reading()

    async def run(self, consumers: Sequence[BatchConsumer]) -> None:
        """Read with these consumers until `stop`; connect again whenever the connection is lost."""
        while not self._stopping.is_set():
            await self._process.reach("connecting")
            self._connection = self._environment.broker.connect(self._process)
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
        environment: Environment,
        service: str,
        name: str,
        skew: float,
        on_death: Callable[["Replica"], None],
    ) -> None:
        self.service = service
        self.name = name
        self.process = Process(name, environment.adversary, lambda process: self._dies(on_death))
        self._environment = environment
        self._broker_client = SimulatedConnection(environment, self.process, TOPOLOGIES[service])
        self._loop = asyncio.get_running_loop()
        self._clock = utc_clock(self._loop, skew)
        published, patience = PublishedEvents(), environment.intervals.patience()
        self._relay = Relay(service, self._broker_client, published)
        self._around = Surroundings(
            self._clock,
            self._relay.hand_over,
            published,
            patience,
            environment.adversary.dice.choice(CACHE_LIMITS),
        )
        self.stock: MemoryInventory
        """The store of an inventory service."""
        self.application = self._assemble()
        nudge = Nudge(service, self._broker_client, self.application.store, self._clock, patience)
        self._wake_ups = WakeUps(self.application, self._broker_client, self._relay, nudge, self._clock)
        self._reading = asyncio.create_task(self._broker_client.run(self._consumers()))
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
        """Stop as on SIGTERM: finish the current messages, then end."""
        self.process.note("drains")
        await self._broker_client.stop()
        await asyncio.wait([self._reading], timeout=DRAIN_TIMEOUT)
        if not self.process.dead:
            self.process.end("stopped")

    def _assemble(self) -> Application[Any, Any]:
        environment, clock, process = self._environment, self._clock, self.process
        table = environment.tables[self.service]
        if self.service == ORDER:
            return OrderApplication(MemoryStore(table, Order, clock, process), self._around)
        if self.service == INVENTORY:
            self.stock = MemoryInventory(table, environment.stock_table, clock, DEFAULT_HOLD, process)
            return InventoryApplication(self.stock, self._around)
        return PaymentApplication(
            MemoryStore(table, Payment, clock, process),
            self._around,
            LedgerProvider(environment.ledger, process),
            CALL_TIMEOUT,
            Retries(environment.intervals.refund_attempts),
        )

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
        poison_events = self._environment.poison_events
        if poison_events and any(poison_events.get(str(event.event_id)) == self.service for event in events):
            await self.process.reach("handling a poison message")
            while self.process.poison_candidates and not quarantined:
                # A third crash around another quarantined message would make that one look like poison.
                await asyncio.sleep(RECHECK_INTERVAL)
                await self.process.live()
            self.process.kill("by a message")
            await self.process.live()
        return await self.application.handle(events)

    async def _sweeping(self) -> None:
        while not self.process.dead:
            await Sleep(
                self._loop,
                self._environment.intervals.sweep
                * (QUIESCENT_FACTOR if self._environment.adversary.quiescing else 1),
            )
            if not self._has_something_to_do():
                continue
            try:
                await self._wake_ups.sweep()
            except Unavailable as why:
                self.process.note(f"sweep waits: {why}")

    def _has_something_to_do(self) -> bool:
        now = self._clock()
        return any(
            row.wake_at and row.wake_at <= now for row in self._environment.tables[self.service].values()
        )

    def _dies(self, on_death: Callable[["Replica"], None]) -> None:
        self._broker_client.lose("its process died")
        on_death(self)

    def _ended(self, task: "asyncio.Future[tuple[None, None, None]]") -> None:
        if not task.cancelled() and (error := task.exception()):
            self._environment.crashes.append(Finding(Invariant.NO_CRASH, self.name, f"died of {error!r}"))
