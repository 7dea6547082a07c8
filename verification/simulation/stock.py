"""The inventory store in memory: reservations and stock, changed together or not at all."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from inventory_service.context import ReservationContext
from inventory_service.reservation import Reservation
from inventory_service.stock import Level, Stock, StockKey, Warehouse
from inventory_service.unit_of_work import ReservationUnitOfWork, planned_items
from saga.reactions.step import Step
from saga.reactions.unit_of_work import LoadedAggregate, UnitOfWork
from verification.simulation.adversary import Process
from verification.simulation.store import MemoryAggregates, Table


@dataclass
class StockTable:
    """The stock levels and warehouses of the inventory service's database."""

    levels: dict[StockKey, Level] = field(default_factory=dict)
    warehouses: dict[str, Warehouse] = field(default_factory=dict)

    def put(self, place: StockKey, units: int) -> None:
        """Set the available units of a level."""
        level = self.levels.get(place) or Level(warehouse_id=place[0], product_id=place[1])
        self.levels[place] = level.model_copy(
            update={
                "available": units,
                "owned": level.owned + units - level.available,
                "version": level.version + 1,
            }
        )


class MemoryInventory(MemoryAggregates[Reservation]):
    """See `inventory_service.mongo_store.InventoryStore`."""

    def __init__(
        self,
        table: Table,
        stock_table: StockTable,
        clock: Callable[[], datetime],
        default_hold: timedelta,
        process: Process,
    ) -> None:
        super().__init__(table, Reservation, clock, process)
        self._stock_table = stock_table
        self._default_hold = default_hold

    async def load(
        self,
        steps: Sequence[Step[Reservation, ReservationContext]],
        assumed: Mapping[str, LoadedAggregate[Reservation]],
    ) -> UnitOfWork[Reservation, ReservationContext]:
        """Load the reservations that the steps touch, then every level that a plan may draw on."""
        entries = {**await self.fetch({step.key for step in steps} - assumed.keys()), **assumed}
        stock = Stock({item.product_id for item in planned_items(steps, entries)})
        if stock.products:
            stock.available = {level.key: level.available for level in await self.levels(stock.products)}
            stock.warehouses = dict(self._stock_table.warehouses)
        return ReservationUnitOfWork(entries, ReservationContext(stock, self._clock(), self._default_hold))

    async def save(self, unit: UnitOfWork[Reservation, ReservationContext]) -> Collection[str]:
        """Write reservations and stock together, all or nothing; return the keys of the steps to repeat."""
        moved = {place: total for place, total in unit.context.stock.moved.items() if any(total.values())}
        return await self._write_together(unit.entries.values(), moved)

    async def write(self, entries: Collection[LoadedAggregate[Reservation]]) -> set[str]:
        """Write reservations, all or none; return the keys of the steps to repeat."""
        return await self._write_together(entries, {})

    async def _write_together(
        self, entries: Collection[LoadedAggregate[Reservation]], moved: Mapping[StockKey, Counter[str]]
    ) -> set[str]:
        changed = [entry for entry in entries if entry.changed]
        if not changed:
            return set()
        await self._process.reach_store("transaction")
        lost = (
            any(self.is_stale(entry) for entry in changed)
            or not all(self._fits(place, total) for place, total in moved.items())
            or self._process.adversary.strikes("store conflict")
        )
        if not lost:
            for entry in changed:
                self.put(entry)
            for place, total in moved.items():
                self._move(place, total)
        await self._process.leave_store("commit")
        return {entry.key for entry in entries} if lost else set()

    async def levels(self, product_ids: Collection[str]) -> list[Level]:
        """Return the levels of these products."""
        await self._process.reach_store("load of the stock")
        return [level for level in self._stock_table.levels.values() if level.product_id in product_ids]

    async def set_level(
        self, warehouse_id: str, product_id: str, units: int, version: int | None
    ) -> Level | None:
        """See `inventory_service.mongo_store.InventoryStore`."""
        place = warehouse_id, product_id
        await self._process.reach_store("setting a level")
        before = self._stock_table.levels.get(place)
        if version is not None and (before is None or before.version != version):
            return None
        self._stock_table.put(place, units)
        self._process.note(f"sets {place} to {units}")
        await self._process.leave_store("setting a level")
        return self._stock_table.levels[place]

    def _fits(self, place: StockKey, total: Counter[str]) -> bool:
        level = self._stock_table.levels.get(place)
        return level is not None and all(
            getattr(level, name) >= -units for name, units in total.items() if units < 0
        )

    def _move(self, place: StockKey, total: Counter[str]) -> None:
        level = self._stock_table.levels[place]
        values = {name: getattr(level, name) + units for name, units in total.items()}
        self._stock_table.levels[place] = level.model_copy(update={**values, "version": level.version + 1})
