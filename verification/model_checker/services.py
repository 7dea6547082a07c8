"""One service that handles only one order: production steps, run by the production engine.

Reactions are pure, and so is the engine without concurrent writers: what a step does to a cell (the aggregate
and its journal) is computed once and remembered, which makes a search over all interleavings fast.
"""

import json
from collections.abc import Callable, Collection, Coroutine, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, NamedTuple, TypeVar, TypeVarTuple

from events.catalogue import Event
from events.codec import decode, encode
from events.encoded import EncodedEvent
from inventory_service.context import ReservationContext
from inventory_service.stock import Stock, Warehouse
from inventory_service.unit_of_work import ReservationUnitOfWork
from saga.errors import OutOfOrder, Refused, SagaError
from saga.reactions.aggregate import Aggregate
from saga.reactions.engine import Engine
from saga.reactions.reaction import Reactions, Transition
from saga.reactions.step import Step, reaction_step, transition_step
from saga.reactions.unit_of_work import JournalEntry, LoadedAggregate, UnitOfWork
from saga.timers.nudge import unanswered
from verification.invariants.case import Snapshot
from verification.model_checker.interner import Interner
from verification.simulation.world import WAREHOUSES

A = TypeVar("A", bound=Aggregate)
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

ORDER_ID = "o-1"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""When everything but a timer's action happens: the model knows no time, only before and after."""
MIDNIGHT = NOON + timedelta(hours=12)
"""After every hold and every deadline."""
HOLD = timedelta(minutes=10)
WAREHOUSE = "berlin"

Level = tuple[str, int, int, int, int]
"""A product and its units: available, reserved, allocated, sold to another customer."""
Levels = tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class Cell(Generic[A]):
    """What a service has stored of the order: the aggregate, and the records of its journal: id, name, and
    the numbers of the events emitted."""

    state: A | None = None
    journal: tuple[tuple[str, str, tuple[int, ...]], ...] = ()


class BrokenReaction(SagaError):
    """A reaction raised an error that no reaction may raise."""


class Effect(NamedTuple):
    """What a step does. `waits`: the event is out of order, and stays in the delay queue."""

    cell: int
    levels: int
    emitted: tuple[int, ...] = ()
    relayed: tuple[int, ...] = ()
    waits: bool = False


class SingleEntryStore:
    """A `saga.reactions.store.Store` of one aggregate, without concurrent writers."""

    def __init__(self) -> None:
        self.now = NOON
        self.entry: LoadedAggregate[Any] = LoadedAggregate(ORDER_ID)
        self.levels: Levels = ()

    async def load(
        self, steps: Sequence[Step[Any, Any]], assumed: Mapping[str, LoadedAggregate[Any]]
    ) -> UnitOfWork[Any, Any]:
        """Return the aggregate, with the stock for the inventory service and the time for the others."""
        if not self.levels:
            return UnitOfWork({ORDER_ID: self.entry}, self.now)
        stock = Stock(
            available={(WAREHOUSE, product): available for product, available, *_ in self.levels},
            warehouses={WAREHOUSE: Warehouse(warehouse_id=WAREHOUSE, location=WAREHOUSES[WAREHOUSE])},
        )
        return ReservationUnitOfWork({ORDER_ID: self.entry}, ReservationContext(stock, self.now, HOLD))

    async def save(self, unit: UnitOfWork[Any, Any]) -> set[str]:
        """Move the stock; the entry was changed in place."""
        if self.levels:
            self.levels = tuple(_moved(level, unit.context.stock) for level in self.levels)
        return set()

    async def write(self, entries: Collection[LoadedAggregate[Any]]) -> set[str]:
        """Do nothing: the entry was changed in place."""
        return set()


class MemoizedService(Generic[A]):
    """A service with one order. Cell 0 is empty; so are levels 0, those of services without stock."""

    def __init__(
        self,
        name: str,
        reactions: Reactions[A, Any],
        events: Interner[Event],
        levels: Interner[Levels],
    ) -> None:
        self.name = name
        self._reactions = reactions
        self.cells: Interner[Cell[A]] = Interner()
        self.cells.number(Cell())
        self._events = events
        self._levels = levels
        self._store = SingleEntryStore()
        self._engine: Engine[A, Any] = Engine(name, self._store, self._clock)
        self._effects: dict[tuple[int, Hashable, int], Effect] = {}
        self._unanswered: dict[int, tuple[int, ...]] = {}
        self._bodies: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._snapshots: dict[int, Snapshot[A]] = {}

    def state(self, cell: int) -> A | None:
        """Return the aggregate in a cell."""
        return self.cells[cell].state

    def snapshot(self, cell: int) -> Snapshot[A] | None:
        """Return what an audit reads of a cell."""
        stored = self.cells[cell]
        if stored.state is None:
            return None
        if cell not in self._snapshots:
            emitted = [self._body(event) for _, _, events in stored.journal for event in events]
            self._snapshots[cell] = Snapshot(stored.state, NOON, [json.loads(body) for body in emitted])
        return self._snapshots[cell]

    def handle(self, cell: int, event: int, levels: int = 0) -> Effect:
        """Return what an event does."""
        return self._effects.get((cell, event, levels)) or self.run(
            cell, event, lambda: reaction_step(self._reactions, self._events[event]), levels
        )

    def execute(
        self,
        cell: int,
        transition: Transition[A, Any, *Ts],
        *arguments: *Ts,
        levels: int = 0,
        now: datetime = NOON,
        deduplicate_by: str = "",
    ) -> Effect:
        """Return what a transition does."""
        return self.run(
            cell,
            (transition.name, arguments, deduplicate_by),
            lambda: transition_step(
                self.name,
                transition,
                ORDER_ID,
                self._correlation(cell),
                *arguments,
                deduplicate_by=deduplicate_by,
            ),
            levels,
            now,
        )

    def run(
        self,
        cell: int,
        asked: Hashable,
        step: Callable[[], Step[A, Any]],
        levels: int = 0,
        now: datetime = NOON,
    ) -> Effect:
        """Return what a step does; `asked` identifies the step."""
        known = self._effects.get((cell, asked, levels))
        if known is None:
            known = self._effects[cell, asked, levels] = self._work_out(cell, step(), levels, now)
        return known

    def unanswered(self, cell: int) -> tuple[int, ...]:
        """Return the events that a nudge publishes."""
        known = self._unanswered.get(cell)
        if known is None:
            known = self._unanswered[cell] = self._numbered(unanswered(self._entry(self.cells[cell])))
        return known

    def _work_out(self, cell: int, step: Step[A, Any], levels: int, now: datetime) -> Effect:
        store = self._store
        store.now, store.entry, store.levels = now, self._entry(self.cells[cell]), self._levels[levels]
        outcome = _run_to_end(self._engine.run([step], fresh=True))[0]
        if outcome.error is not None and not isinstance(outcome.error, OutOfOrder | Refused):
            raise BrokenReaction(f"{step.name} breaks {self.name}: {outcome.error!r}") from outcome.error
        return Effect(
            self.cells.number(self._cell(step, store.entry)),
            self._levels.number(store.levels),
            self._numbered(outcome.emitted),
            self._numbered(outcome.relayed),
            isinstance(outcome.error, OutOfOrder),
        )

    def _entry(self, cell: Cell[A]) -> LoadedAggregate[A]:
        journal = {
            key: JournalEntry(name, NOON, "", tuple(map(self._body, emitted)))
            for key, name, emitted in cell.journal
        }
        return LoadedAggregate(ORDER_ID, version=1, state=cell.state, journal=journal)

    def _body(self, event: int) -> str:
        if event not in self._bodies:
            self._bodies[event] = encode(self._events[event]).decode()
        return self._bodies[event]

    def _number(self, body: str) -> int:
        if body not in self._numbers:
            self._numbers[body] = self._events.number(decode(body))
        return self._numbers[body]

    def _numbered(self, events: Iterable[EncodedEvent]) -> tuple[int, ...]:
        return tuple(self._number(event.body) for event in events)

    def _cell(self, step: Step[A, Any], entry: LoadedAggregate[A]) -> Cell[A]:
        """Return the cell that an entry is saved as, without records that decide nothing."""
        records = [
            (key, record.name, tuple(map(self._number, record.emitted)))
            for key, record in entry.journal.items()
            if record.emitted or not (step.continues and key == step.record_id)
        ]
        return Cell(entry.state, tuple(sorted(records)))

    def _clock(self) -> datetime:
        return self._store.now

    def _correlation(self, cell: int) -> str:
        state = self.state(cell)
        return state.correlation_id if state else ORDER_ID


def _moved(level: Level, stock: Stock) -> Level:
    product, available, reserved, allocated, sold = level
    moved: Mapping[str, int] = stock.moved.get((WAREHOUSE, product), {})
    return (
        product,
        available + moved.get("available", 0),
        reserved + moved.get("reserved", 0),
        allocated + moved.get("allocated", 0),
        sold,
    )


def _run_to_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that never waits.

    Raises:
        RuntimeError: it waits.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("a step of the search waits for something")
