"""Reservations, stock levels and warehouses in MongoDB; a batch changes them in one transaction."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from pymongo import UpdateOne
from pymongo.errors import CollectionInvalid, OperationFailure

from events.values import Item
from inventory_service.allocation import BAND_KM
from inventory_service.context import ReservationContext
from inventory_service.reservation import Reservation
from inventory_service.stock import Level, Stock, StockKey, Warehouse
from inventory_service.transaction import LostRace, Transaction
from inventory_service.unit_of_work import ReservationUnitOfWork, planned_items
from saga.mongodb.aggregates import Aggregates, Write
from saga.mongodb.client import Client, Database, DocumentCollection, Session
from saga.mongodb.errors import translate_driver_errors
from saga.reactions.step import Step
from saga.reactions.unit_of_work import LoadedAggregate, UnitOfWork

NAMESPACE_EXISTS = 48
WAREHOUSES_REMEMBERED = timedelta(seconds=5)
LEVEL_NUMBERS = ("available", "reserved", "allocated", "owned", "version")


class InventoryStore(Aggregates[Reservation]):
    """See `saga.reactions.store.Store`.

    `replica` is a name that a process keeps across restarts, to end the transaction that it died in.
    """

    def __init__(
        self,
        client: Client,
        database: Database,
        clock: Callable[[], datetime],
        default_hold: timedelta,
        replica: str | None = None,
        band_km: float = BAND_KM,
        archive_after: timedelta | None = None,
    ) -> None:
        super().__init__(database["reservations"], Reservation, clock, archive_after)
        self._client = client
        self._levels = database["stock"]
        self._warehouses = database["warehouses"]
        self._default_hold = default_hold
        self._band_km = band_km
        self._sessions = database["sessions"]
        self._replica = replica or uuid4().hex
        self.session: Session | None = None
        """The session of this replica's transactions, once it is open."""
        self._turn = asyncio.Lock()
        self._remembered: dict[str, Warehouse] = {}
        self._remembered_until = datetime.min.replace(tzinfo=UTC)

    async def prepare(self) -> None:
        """Create the indexes, and the collections, which a transaction could not create."""
        await super().prepare()
        with translate_driver_errors():
            await _make_collection(self._levels)
            await self._warehouses.create_index("name", sparse=True)
            await self._open_session()

    async def load(
        self,
        steps: Sequence[Step[Reservation, ReservationContext]],
        assumed: Mapping[str, LoadedAggregate[Reservation]],
    ) -> UnitOfWork[Reservation, ReservationContext]:
        """Load the reservations that the steps touch, and every level that a plan may draw on."""
        entries = {**await self.fetch({step.key for step in steps} - assumed.keys()), **assumed}
        items = list(planned_items(steps, entries))
        stock = await self._stock_for(items) if items else Stock(())
        return ReservationUnitOfWork(
            entries, ReservationContext(stock, self._clock(), self._default_hold, self._band_km)
        )

    async def _stock_for(self, items: Sequence[Item]) -> Stock:
        """Return the levels that a plan for these items may draw on.

        First, only those are read that the items name, or that are at a warehouse which this process
        remembers. If they do not suffice, all of them are read: nothing is refused for what is remembered.
        """
        products = {item.product_id for item in items}
        if self._remembered and self._clock() < self._remembered_until:
            keys = {
                (warehouse, item.product_id)
                for item in items
                for warehouse in ((item.warehouse_id,) if item.warehouse_id else self._remembered)
            }
            stock = Stock(products, await self._available(keys), self._remembered)
            if stock.suffices(items):
                return stock
        self._remembered = {warehouse.warehouse_id: warehouse for warehouse in await self.warehouses()}
        self._remembered_until = self._clock() + WAREHOUSES_REMEMBERED
        keys = {(warehouse, product) for warehouse in self._remembered for product in products}
        return Stock(products, await self._available(keys), self._remembered)

    async def _available(self, keys: Collection[StockKey]) -> dict[StockKey, int]:
        return {level.key: level.available for level in await self._levels_at(keys)}

    async def _levels_at(self, keys: Collection[StockKey]) -> list[Level]:
        chosen = {"_id": {"$in": sorted(level_id(*key) for key in keys)}}
        with translate_driver_errors():
            return [Level.model_validate(document) async for document in self._levels.find(chosen)]

    async def save(self, unit: UnitOfWork[Reservation, ReservationContext]) -> Collection[str]:
        """Write reservations and stock together, all or nothing; return the keys of the steps to repeat."""
        # Moves that cancel each other out write no stock.
        moved = {key: total for key, total in unit.context.stock.moved.items() if any(total.values())}
        return await self._write_together(unit.entries.values(), [_move(*one) for one in moved.items()])

    async def write(self, entries: Collection[LoadedAggregate[Reservation]]) -> set[str]:
        """Write reservations in a transaction, even alone.

        A plain write to a document that an orphaned transaction has locked would wait until the database ends
        that one; in a transaction, it loses the race at once.
        """
        return await self._write_together(entries, [])

    async def _write_together(
        self, entries: Collection[LoadedAggregate[Reservation]], stock_writes: Sequence[UpdateOne]
    ) -> set[str]:
        writes = [self._write(entry) for entry in entries if entry.changed]
        if not writes:
            return set()
        # The caller may be cancelled, but a transaction that has begun runs to its end: its thread would
        # continue, and the next transaction would find the session in use.
        transaction = asyncio.ensure_future(self._transact(writes, stock_writes))
        transaction.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await asyncio.shield(transaction)
        except asyncio.CancelledError:
            await asyncio.wait([transaction])
            raise
        except LostRace:
            return {entry.key for entry in entries}
        return set()

    async def levels(
        self, product_ids: Collection[str] | None = None, warehouse_id: str | None = None
    ) -> list[Level]:
        """Return the levels of these products (None: all), at one warehouse or at all.

        A level has an id of its warehouse and its product, and no index: one costs each move of stock as much
        as half of the move.
        """
        if product_ids is None:
            chosen = {"warehouseId": warehouse_id} if warehouse_id else {}
            with translate_driver_errors():
                cursor = self._levels.find(chosen).sort("_id", 1)
                return [Level.model_validate(document) async for document in cursor]
        warehouses = [warehouse_id] if warehouse_id else [one.warehouse_id for one in await self.warehouses()]
        levels = await self._levels_at({(place, product) for place in warehouses for product in product_ids})
        return sorted(levels, key=lambda level: level.key)

    async def set_level(
        self, warehouse_id: str, product_id: str, units: int, version: int | None
    ) -> Level | None:
        """Set the available units; with a version, only if the level still has it, else return None."""
        key = level_id(warehouse_id, product_id)
        chosen = {"_id": key} if version is None else {"_id": key, "version": version}
        before = {name: {"$ifNull": [f"${name}", 0]} for name in LEVEL_NUMBERS}
        change = {
            **before,
            "warehouseId": warehouse_id,
            "productId": product_id,
            "available": units,
            "owned": {"$add": [before["owned"], {"$subtract": [units, before["available"]]}]},
            "version": {"$add": [before["version"], 1]},
        }
        with translate_driver_errors():
            done = await self._levels.update_one(chosen, [{"$set": change}], upsert=version is None)
            if version is not None and not done.matched_count:
                return None
            return Level.model_validate(await self._levels.find_one({"_id": key}))

    async def warehouses(self) -> list[Warehouse]:
        """Return every warehouse."""
        with translate_driver_errors():
            return [Warehouse.model_validate(row) async for row in self._warehouses.find().sort("_id", 1)]

    async def set_warehouses(self, warehouses: Sequence[Warehouse]) -> None:
        """Add or change these warehouses."""
        self._remembered = {}
        writes = [
            UpdateOne(
                {"_id": warehouse.warehouse_id}, {"$set": warehouse.model_dump(by_alias=True)}, upsert=True
            )
            for warehouse in warehouses
        ]
        if writes:
            with translate_driver_errors():
                await self._warehouses.bulk_write(writes, ordered=False)

    async def _open_session(self) -> Session:
        """Open the session for this replica's transactions, and end the previous one.

        A process that dies in a transaction leaves it open, and its documents locked until the database ends
        it, by default after 60 s. Its successor ends it at once.
        """
        self.session = await self._client.start_session()
        session_id = self.session.session_id
        before = await self._sessions.find_one({"_id": self._replica})
        if before:
            await self._client.admin.command("killSessions", [before["session"]])
        await self._sessions.update_one(
            {"_id": self._replica}, {"$set": {"session": session_id, "at": self._clock()}}, upsert=True
        )
        return self.session

    async def _transact(self, writes: Sequence[Write], stock_writes: Sequence[UpdateOne]) -> None:
        """Make all of these writes or none, one transaction after the other.

        It runs in a thread as a whole, with the driver behind Motor, which takes a thread for each call.
        """
        async with self._turn:
            with translate_driver_errors():
                session = self.session or await self._open_session()
                transact = Transaction(self.collection.delegate, self._levels.delegate, session.delegate)
                await asyncio.to_thread(transact, writes, stock_writes)


async def _make_collection(collection: DocumentCollection) -> None:
    """Make a collection that has no index of its own, unless it exists."""
    try:
        await collection.database.create_collection(collection.name)
    except CollectionInvalid:
        return
    except OperationFailure as error:  # another replica was faster
        if error.code != NAMESPACE_EXISTS:
            raise


def _move(key: StockKey, total: Counter[str]) -> UpdateOne:
    """Return the write that moves units of one level, and matches only if there are enough."""
    enough = {name: {"$gte": -units} for name, units in total.items() if units < 0}
    change = {name: units for name, units in total.items() if units}
    return UpdateOne({"_id": level_id(*key), **enough}, {"$inc": {**change, "version": 1}})


def level_id(warehouse_id: str, product_id: str) -> str:
    """Return the `_id` of a level."""
    return f"{warehouse_id}/{product_id}"
