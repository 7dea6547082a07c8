"""Stores to test against, the real ones or those in memory, behind one face."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Protocol, TypeVar

from events.catalogue import Event, InventoryConfirmed
from events.types import Money, Timestamp
from events.values import Item, Location
from inventory_service.mongo_store import InventoryStore
from inventory_service.reactions import ReservationContext
from inventory_service.reservation import Reservation
from inventory_service.stock import Level, Warehouse
from saga.mongodb.aggregates import PlainStore
from saga.mongodb.client import Database
from saga.reactions.aggregate import Aggregate
from saga.reactions.step import LoadedAggregate, Step
from saga.reactions.store import UnitOfWork
from tests.contract.broker_drivers import peaceful
from verification.simulation.stock import MemoryInventory, Shelves
from verification.simulation.store import MemoryStore, Table

START = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)
HOLD = timedelta(minutes=10)
PLACE = ("berlin", "tea")
BERLIN = Warehouse(warehouse_id="berlin", location=Location(latitude=52.5, longitude=13.4))

M = TypeVar("M", bound=Aggregate)


class SampleAggregate(Aggregate):
    """An aggregate with everything that is hard to store."""

    amount: Money = Decimal(0)
    moment: Timestamp = START
    items: tuple[Item, ...] = ()
    due: Timestamp | None = None

    @property
    def unanswered_requests(self) -> tuple[type[Event], ...]:
        return (InventoryConfirmed,) if self.status == "waiting" else ()

    @property
    def due_at(self) -> datetime | None:
        return self.due


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class AggregateStore(Protocol[M]):
    """What every store of aggregates offers."""

    async def fetch(self, keys: Collection[str]) -> dict[str, LoadedAggregate[M]]: ...
    async def write(self, entries: Collection[LoadedAggregate[M]]) -> set[str]: ...
    async def get(self, key: str) -> M | None: ...
    async def due(self, limit: int) -> list[M]: ...
    async def waiting(
        self, before: datetime, limit: int, after: str | None = None
    ) -> list[LoadedAggregate[M]]: ...
    async def nudged(self, entries: Collection[LoadedAggregate[M]]) -> None: ...
    async def unpublished(self, before: datetime, limit: int) -> list[Event]: ...
    async def published(self, events: Mapping[str, Collection[str]]) -> None: ...


class StockStore(Protocol):
    """What the store of the inventory service offers to the batch logic."""

    async def load(
        self, steps: Sequence[Step[Reservation, ReservationContext]]
    ) -> UnitOfWork[Reservation, ReservationContext]: ...
    async def save(self, unit: UnitOfWork[Reservation, ReservationContext]) -> Collection[str]: ...
    async def get(self, key: str) -> Reservation | None: ...
    async def set_level(
        self, warehouse_id: str, product_id: str, units: int, version: int | None
    ) -> Level | None: ...


class AnyDatabase(ABC):
    """A database of the test's own; each store that it opens is another process's."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    @abstractmethod
    async def things(self) -> AggregateStore[SampleAggregate]:
        """Open a store of things."""

    @abstractmethod
    async def stock(self) -> StockStore:
        """Open the store of the inventory service, which has one warehouse."""

    @abstractmethod
    async def put(self, units: int) -> None:
        """Set what is available at the one place."""

    @abstractmethod
    async def level(self) -> Level:
        """Return the level of the one place."""


class MemoryDatabase(AnyDatabase):
    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._things: Table = {}
        self._reservations: Table = {}
        self._shelves = Shelves(warehouses={"berlin": BERLIN})

    async def things(self) -> AggregateStore[SampleAggregate]:
        return MemoryStore(self._things, SampleAggregate, self.clock, peaceful())

    async def stock(self) -> StockStore:
        return MemoryInventory(self._reservations, self._shelves, self.clock, HOLD, peaceful())

    async def put(self, units: int) -> None:
        self._shelves.put(PLACE, units)

    async def level(self) -> Level:
        return self._shelves.levels[PLACE]


class MongoDatabase(AnyDatabase):
    def __init__(self, clock: Clock, database: Database) -> None:
        super().__init__(clock)
        self._database = database

    async def things(self) -> AggregateStore[SampleAggregate]:
        store = PlainStore(self._database["things"], SampleAggregate, self.clock)
        await store.prepare()
        return store

    async def stock(self) -> StockStore:
        return await self._inventory()

    async def put(self, units: int) -> None:
        store = await self._inventory()
        await store.set_warehouses([BERLIN])
        await store.set_level(*PLACE, units, None)

    async def level(self) -> Level:
        [level] = await (await self._inventory()).levels()
        return level

    async def _inventory(self) -> InventoryStore:
        store = InventoryStore(self._database.client, self._database, self.clock, HOLD)
        await store.prepare()
        return store
