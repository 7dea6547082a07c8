"""Orders and stock for the tests of the allocation."""

from events.values import Item, Location
from inventory_service.allocation import NoPlan, plan
from inventory_service.stock import Stock, StockKey

POTSDAM = Location(latitude=52.39, longitude=13.06)
LONDON = Location(latitude=51.5074, longitude=-0.1278)
NEW_YORK = Location(latitude=40.7128, longitude=-74.0060)
SYDNEY = Location(latitude=-33.8688, longitude=151.2093)


def tea(units: int, warehouse_id: str | None = None) -> Item:
    return Item(product_id="tea", quantity=units, warehouse_id=warehouse_id)


def mug(units: int, warehouse_id: str | None = None) -> Item:
    return Item(product_id="mug", quantity=units, warehouse_id=warehouse_id)


def chosen(items: list[Item], near: Location | None, levels: Stock) -> dict[StockKey, int]:
    """Return the units that a plan takes from each place; there must be a plan."""
    lines = plan("o-1", items, near, levels)
    assert not isinstance(lines, NoPlan)
    taken = {(line.warehouse_id, line.product_id): line.quantity for line in lines}
    assert len(taken) == len(lines)
    return taken


def by_warehouse(items: list[Item], near: Location | None, levels: Stock) -> dict[str, int]:
    return {warehouse: units for (warehouse, _), units in chosen(items, near, levels).items()}
