"""The stores under test, those of MongoDB and those in memory, behind one interface."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from events.values import Location
from inventory_service.context import ReservationContext
from inventory_service.mongo_store import InventoryStore
from inventory_service.reservation import Reservation
from inventory_service.stock import Level, Warehouse
from saga.mongodb.aggregates import PlainStore
from saga.mongodb.client import Database
from saga.reactions.aggregate import Aggregate
from saga.reactions.step import Step
from saga.reactions.unit_of_work import LoadedAggregate, UnitOfWork
from tests.contract.broker_drivers import peaceful
from tests.support.clock import Clock
from tests.support.inventory_store import HOLD
from tests.support.sample_aggregate import SampleAggregate
from verification.simulation.stock import MemoryInventory, StockTable
from verification.simulation.store import MemoryStore, Table

STOCK_KEY = ("berlin", "tea")
BERLIN = Warehouse(warehouse_id="berlin", location=Location(latitude=52.5, longitude=13.4))

M = TypeVar("M", bound=Aggregate)


class AggregateStore(Protocol[M]):
    """What every store of aggregates offers."""

    async def fetch(self, keys: Collection[str]) -> dict[str, LoadedAggregate[M]]: ...
    async def write(self, entries: Collection[LoadedAggregate[M]]) -> set[str]: ...
    async def get(self, key: str) -> M | None: ...
    async def load(
        self, steps: Sequence[Step[M, datetime]], assumed: Mapping[str, LoadedAggregate[M]]
    ) -> UnitOfWork[M, datetime]: ...
    async def save(self, unit: UnitOfWork[M, datetime]) -> set[str]: ...
    async def due(self) -> list[str]: ...
    async def waking(self) -> list[str]: ...
    async def readable(self, keys: Collection[str]) -> list[LoadedAggregate[M]]: ...


class StockStore(Protocol):
    """What the store of the inventory service offers to the batch logic."""

    async def load(
        self,
        steps: Sequence[Step[Reservation, ReservationContext]],
        assumed: Mapping[str, LoadedAggregate[Reservation]],
    ) -> UnitOfWork[Reservation, ReservationContext]: ...
    async def write(self, entries: Collection[LoadedAggregate[Reservation]]) -> set[str]: ...
    async def fetch(self, keys: Collection[str]) -> dict[str, LoadedAggregate[Reservation]]: ...
    async def save(self, unit: UnitOfWork[Reservation, ReservationContext]) -> Collection[str]: ...
    async def get(self, key: str) -> Reservation | None: ...
    async def set_level(
        self, warehouse_id: str, product_id: str, units: int, version: int | None
    ) -> Level | None: ...


class AnyDatabase(ABC):
    """A database of one test; each store that it opens belongs to another process."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    @abstractmethod
    async def samples(self) -> AggregateStore[SampleAggregate]:
        """Open a store of samples."""

    @abstractmethod
    async def stock(self) -> StockStore:
        """Open the store of the inventory service, which has one warehouse."""

    @abstractmethod
    async def put(self, units: int) -> None:
        """Set the units available at the one place."""

    @abstractmethod
    async def level(self) -> Level:
        """Return the level of the one place."""


class MemoryDatabase(AnyDatabase):
    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._samples: Table = {}
        self._reservations: Table = {}
        self._stock_table = StockTable(warehouses={"berlin": BERLIN})

    async def samples(self) -> AggregateStore[SampleAggregate]:
        return MemoryStore(self._samples, SampleAggregate, self.clock, peaceful())

    async def stock(self) -> StockStore:
        return MemoryInventory(self._reservations, self._stock_table, self.clock, HOLD, peaceful())

    async def put(self, units: int) -> None:
        self._stock_table.put(STOCK_KEY, units)

    async def level(self) -> Level:
        return self._stock_table.levels[STOCK_KEY]


class MongoDatabase(AnyDatabase):
    def __init__(self, clock: Clock, database: Database) -> None:
        super().__init__(clock)
        self._database = database

    async def samples(self) -> AggregateStore[SampleAggregate]:
        store = PlainStore(self._database["samples"], SampleAggregate, self.clock)
        await store.prepare()
        return store

    async def stock(self) -> StockStore:
        return await self._inventory()

    async def put(self, units: int) -> None:
        store = await self._inventory()
        await store.set_warehouses([BERLIN])
        await store.set_level(*STOCK_KEY, units, None)

    async def level(self) -> Level:
        [level] = await (await self._inventory()).levels()
        return level

    async def _inventory(self) -> InventoryStore:
        store = InventoryStore(self._database.client, self._database, self.clock, HOLD)
        await store.prepare()
        return store
