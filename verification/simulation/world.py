"""One schedule: a world with its faults, from the first order until everything rests, and its findings."""

import asyncio
import random
from collections.abc import Coroutine, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from events.catalogue import INVENTORY, ORDER, SERVICES, short_name
from events.values import Location
from inventory_service.stock import Warehouse
from operations.registry import TOPOLOGIES
from payment_service.providers.base import Charge, Refund
from verification.invariants.names import Finding, Invariant
from verification.simulation.adversary import Adversary
from verification.simulation.broker import MemoryBroker
from verification.simulation.clients import PRODUCTS, Clients
from verification.simulation.clock import VirtualLoop, utc_clock
from verification.simulation.findings import findings
from verification.simulation.manual_operations import ManualOperations
from verification.simulation.provider import Ledger
from verification.simulation.services import Environment, Intervals, Replica
from verification.simulation.trace import Trace, described

REST_LIMIT = 4000.0
"""Seconds after the last fault within which everything must come to rest."""
STOCK = ((0, 2, 3, 5, 40), (0, 3, 4, 6), (0, 1, 2, 4))
"""Units of a product at a warehouse: mostly enough, enough for some orders, or for hardly any."""
POLL_INTERVAL = 4.0
NUDGE_LIMIT = 3
"""An order without progress after this many nudges gets none from the next."""
SILENT = structlog.make_filtering_bound_logger(50)
WAREHOUSES = {
    "berlin": Location(latitude=52.5, longitude=13.4),
    "paris": Location(latitude=48.9, longitude=2.4),
}


@dataclass(frozen=True, slots=True)
class ScheduleResult:
    """What one schedule found."""

    seed: int
    violations: list[Finding]
    ends: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    timeline: str = ""

    @property
    def command(self) -> str:
        """The command that plays this schedule again."""
        return f"saga simulate --seed {self.seed} --schedules 1"


def play(seed: int, *, trace: bool = False) -> ScheduleResult:
    """Run the schedule of a seed; the same seed always gives the same result."""
    random.seed(seed)
    loop = VirtualLoop()
    world = World(seed, Trace(trace), loop)
    try:
        with _logs(world):
            return loop.run_until_complete(world.run())
    finally:
        loop.discard()


class World:
    """Everything that takes part in one schedule."""

    def __init__(self, seed: int, trace: Trace, loop: VirtualLoop) -> None:
        self._seed = seed
        self.trace = trace
        self._loop = loop
        self._adversary = Adversary(seed, trace)
        dice = self._dice = self._adversary.dice
        self._window = dice.choice((3.0, 8.0, 20.0))
        self._span = dice.choice((0.01, 0.5, self._window, self._window))
        """Seconds within which the clients act: all at once, or spread out."""
        self._rush = dice.random() < 0.1
        """All clients order the same scarce product at once, and processes race for it."""
        if self._rush:
            self._span, self._adversary.instant_call_share = 0.01, 0.0
        self._intervals = Intervals(sweep=dice.choice((1.0, 3.0)), relay_after=dice.choice((3.0, 8.0, 20.0)))
        if self._adversary.one_long_delay:
            self._intervals = Intervals(sweep=15.0, relay_after=30.0)
        self._intervals.nudge = dice.random() < 0.1
        self._intervals.refund_attempts = dice.choice((1, 1, 2, 3))
        self._replicas: dict[str, Replica] = {}
        self._skews: dict[str, float] = {}
        """How wrong the clock of each replica's machine is, in seconds."""
        self._actors: list[asyncio.Task[None]] = []

    async def run(self) -> ScheduleResult:
        """Play the schedule to its end."""
        broker = MemoryBroker(self._adversary)
        broker.declare(list(TOPOLOGIES.values()))
        ledger = Ledger(self._adversary, self._loop.time, self._approve_late, self._decide_later)
        self._environment = Environment(self._adversary, broker, ledger, self._intervals)
        self._fill_stock()
        for service in SERVICES:
            for number in range(4 if self._rush else self._dice.choice((1, 1, 2, 2, 3))):
                self._start(service, f"{short_name(service)}-{number + 1}")
        wanted = 1 if self._rush else self._dice.choice((1, 1, 2, 3))
        clients = self._clients = Clients(self._environment, self._replica, PRODUCTS[:wanted])
        self._operations = ManualOperations(self._environment, clients)
        for act in (*self._orders(), *self._manual_acts(), *self._operated()):
            self._play(act)
        await self._until_faults_end()
        self._adversary.quiescing = True
        self._note("no more faults")
        await self._until_acts_end()
        quiet = await self._until_quiet()
        restless = [] if quiet else [self._not_at_rest()]
        await self._until_acts_end()
        found = [
            *restless,
            *findings(self._environment, clients.promised, utc_clock(self._loop)()),
            *(Finding(Invariant.NO_CRASH, "the loop", error) for error in self._loop.errors),
            *(
                Finding(Invariant.NO_CRASH, "a client", f"failed with {error!r}")
                for actor in self._actors
                if (error := actor.exception())
            ),
        ]
        return ScheduleResult(
            self._seed, found, self._ends(), dict(self._adversary.fault_counts), self.trace.text()
        )

    def _not_at_rest(self) -> Finding:
        text = f"is not at rest {REST_LIMIT:g} s after the last fault: {', '.join(self._unfinished())}"
        return Finding(Invariant.COMES_TO_REST, "the system", text)

    def _play(self, act: Coroutine[Any, Any, None]) -> None:
        self._actors.append(asyncio.create_task(act))

    def _approve_late(self, charge: Charge) -> None:
        self._play(
            self._operations.approve_late(charge, self._dice.choice((0.01, 1, 12)) * self._dice.random())
        )

    def _decide_later(self, asked: Charge | Refund, reference: str) -> None:
        self._play(self._operations.decide_later(asked, reference))

    def _orders(self) -> list[Coroutine[Any, Any, None]]:
        dice, clients = self._dice, self._clients
        acts = []
        # One or two orders are mostly enough: a second of such schedules catches more of the mutants in
        # tests/simulation/mutants than a second of larger ones.
        for number in range(4 if self._rush else dice.choice((1, 1, 1, 1, 2))):
            request = clients.request(f"o-{number + 1}")
            channel = dice.random()
            if channel < 0.85:
                acts.append(clients.place(request, self._moment()))
            if channel > 0.7:
                same = dice.random() < 0.5
                other = request if same else clients.request(request.order_id)
                acts.append(clients.publish_manually(other, self._moment()))
                if dice.random() < 0.3:
                    acts.append(clients.publish_manually(clients.request(request.order_id), self._moment()))
            if dice.random() < 0.3:
                acts.append(clients.cancel(request.order_id, self._moment(), once_paid=dice.random() < 0.3))
            if dice.random() < 0.2:
                acts.append(clients.settle(request.order_id, self._moment()))
        return acts

    def _manual_acts(self) -> list[Coroutine[Any, Any, None]]:
        dice, operations = self._dice, self._operations
        acts = []
        if dice.random() < 0.2:
            acts += [operations.restock(self._moment()) for _ in range(dice.choice((1, 2, 3)))]
        if dice.random() < 0.15:
            acts.append(operations.hold(dice.choice(("o-1", "h-1", "h-2")), self._moment()))
        if dice.random() < 0.1:
            acts.append(operations.pay(dice.choice(("o-1", "p-1")), self._moment()))
        if dice.random() < 0.1:
            acts += [
                operations.publish_undecodable(number, self._moment())
                for number in range(dice.choice((1, 2)))
            ]
        if dice.random() < 0.06:
            acts.append(operations.publish_poison("k-1", self._moment()))
        return acts

    def _operated(self) -> list[Coroutine[Any, Any, None]]:
        dice = self._dice
        acts = []
        if dice.random() < 0.2:
            acts += [self._drain_a_replica(self._moment()) for _ in range(dice.choice((1, 2, 3)))]
        if self._intervals.nudge:
            for _ in range(dice.choice((1, 2, 3))):
                acts.append(self._wipe(self._moment() + dice.choice((0.1, 0.5, 2.0)) * dice.random()))
        return acts

    async def _drain_a_replica(self, at: float) -> None:
        await asyncio.sleep(at)
        running = [replica for replica in self._replicas.values() if not replica.process.dead]
        if running:
            self._adversary.count("drain")
            await self._dice.choice(running).drain()

    async def _wipe(self, at: float) -> None:
        await asyncio.sleep(at)
        self._adversary.count("wipe")
        self._note("the broker loses all messages")
        environment = self._environment
        environment.broker.lose_everything(list(TOPOLOGIES.values()))
        # What only the broker had is lost, even if it was promised.
        self._clients.promised &= {
            key for service in (ORDER, INVENTORY) for key in environment.stored(service)
        }
        environment.possible_dead_letters |= environment.expected_dead_letters
        environment.expected_dead_letters.clear()

    def _moment(self) -> float:
        return self._dice.random() ** 2 * self._span

    def _fill_stock(self) -> None:
        units = STOCK[-1] if self._rush else self._dice.choice(STOCK)
        for warehouse, location in WAREHOUSES.items():
            self._environment.stock_table.warehouses[warehouse] = Warehouse(
                warehouse_id=warehouse, location=location
            )
            for product in PRODUCTS[: self._dice.choice((2, 3, 3))]:
                self._environment.stock_table.put((warehouse, product), self._dice.choice(units))

    def _start(self, service: str, name: str) -> None:
        self._note(f"{name} starts")
        if name not in self._skews:
            self._skews[name] = self._dice.choice((0.0, 0.0, self._dice.uniform(-2, 2)))
        self._replicas[name] = Replica(self._environment, service, name, self._skews[name], self._died)

    def _died(self, replica: Replica) -> None:
        self._loop.call_later(self._dice.uniform(0.05, 6), self._start, replica.service, replica.name)

    def _replica(self, service: str) -> Replica | None:
        running = [
            replica
            for replica in self._replicas.values()
            if replica.service == service and not replica.process.dead
        ]
        return self._dice.choice(running) if running else None

    async def _until_faults_end(self) -> None:
        for _ in range(int(self._window)):
            await asyncio.sleep(1)
            if all(actor.done() for actor in self._actors) and not self._unfinished():
                return

    async def _until_acts_end(self) -> None:
        while doing := [actor for actor in self._actors if not actor.done()]:
            await asyncio.wait(doing)

    async def _until_quiet(self) -> bool:
        end = self._loop.time() + REST_LIMIT
        while self._unfinished():
            if self._loop.time() > end:
                return False
            await asyncio.sleep(POLL_INTERVAL)
        return True

    def _unfinished(self) -> list[str]:
        """Return what is unfinished, except orders that no nudge moves any more."""
        waiting = [
            f"the queue {queue.name}"
            for queue in self._environment.broker.queues.values()
            if queue.in_transit or (queue.busy and not queue.name.endswith(".dead"))
        ]
        rows = [
            f"{service} {key}"
            for service, table in self._environment.tables.items()
            for key, row in table.items()
            if any(record.unpublished for record in row.journal.values())
            or (row.state and row.state.due_at)
            or (row.nudge_at and self._intervals.nudge and row.nudges < NUDGE_LIMIT)
        ]
        absent = [name for name, replica in self._replicas.items() if replica.process.dead]
        return [*waiting, *rows, *absent]

    def _ends(self) -> dict[str, int]:
        ends: dict[str, int] = {}
        states = (row.state for row in self._environment.tables[ORDER].values())
        for status in (state.status for state in states if state):
            ends[status] = ends.get(status, 0) + 1
        return ends

    def _note(self, what: str) -> None:
        self.trace.add(self._loop.time(), "world", what)

    def logged(self, logger: Any, method: str, fields: MutableMapping[str, Any]) -> str:
        """Add what the services log to the timeline (a processor of structlog)."""
        if fields.pop("exc_info", None):
            fields["traceback"] = structlog.processors.format_exc_info(logger, method, {"exc_info": True})
        self.trace.add(self._loop.time(), "log", described(fields))
        raise structlog.DropEvent


def silence() -> None:
    """Switch logging off in this process: even deciding whether to log takes time."""
    structlog.configure(wrapper_class=SILENT, cache_logger_on_first_use=True)


@contextmanager
def _logs(world: World) -> Iterator[None]:
    """Have the services log to the timeline, or nowhere."""
    before = structlog.get_config()
    if not world.trace.on and before["wrapper_class"] is SILENT:
        yield
        return
    structlog.configure(
        processors=[world.logged],
        wrapper_class=structlog.make_filtering_bound_logger(0) if world.trace.on else SILENT,
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
