"""Which warehouse each unit of an order comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import asin, cos, radians, sin, sqrt

from events.catalogue import ReservationFailure
from events.fields import HeldLine, Item, Location, Shortage
from inventory_service.stock import Place, Stock

EARTH_RADIUS_KM = 6371.0
BAND_KM = 100.0
"""Warehouses whose distance falls into the same band count as equally near."""


@dataclass(frozen=True, slots=True)
class NoPlan:
    """Why an order cannot be held."""

    reason: ReservationFailure
    shortages: tuple[Shortage, ...] = ()


def plan(
    order_id: str, items: Sequence[Item], near: Location | None, stock: Stock
) -> tuple[HeldLine, ...] | NoPlan:
    """Return the lines to hold, all of the order or none of it.

    Line by line, those that name their warehouse first: the nearest band is drawn on first, among equals a
    warehouse the order uses already, then the fullest.
    """
    if any(item.warehouse_id and item.warehouse_id not in stock.warehouses for item in items):
        return NoPlan("unknown_warehouse")
    if any(not stock.knows(item.product_id) for item in items):
        return NoPlan("unknown_product", _shortages(items, stock))
    free = dict(stock.free)
    taken: dict[Place, int] = {}
    for item in sorted(items, key=lambda item: item.warehouse_id is None):
        wanted = item.quantity
        for place in _candidates(item, near, stock, free, {warehouse for warehouse, _ in taken}):
            units = min(wanted, free[place])
            free[place] -= units
            taken[place] = taken.get(place, 0) + units
            wanted -= units
            if not wanted:
                break
        if wanted:
            return NoPlan("insufficient_stock", _shortages(items, stock))
    return tuple(
        HeldLine(reservation_id=order_id, product_id=product, warehouse_id=warehouse, quantity=units)
        for (warehouse, product), units in taken.items()
    )


def distance_km(a: Location, b: Location) -> float:
    """Return the great-circle distance, by the haversine formula."""
    north, east = radians(b.latitude - a.latitude), radians(b.longitude - a.longitude)
    chord = sin(north / 2) ** 2 + cos(radians(a.latitude)) * cos(radians(b.latitude)) * sin(east / 2) ** 2
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(chord)))


def _candidates(
    item: Item, near: Location | None, stock: Stock, free: dict[Place, int], used: set[str]
) -> list[Place]:
    places = [
        place
        for place, units in free.items()
        if place[1] == item.product_id and units > 0 and item.warehouse_id in (None, place[0])
    ]

    def rank(place: Place) -> tuple[int, bool, int, str]:
        return _band(place[0], near, stock), place[0] not in used, -free[place], place[0]

    return sorted(places, key=rank)


def _band(warehouse_id: str, near: Location | None, stock: Stock) -> int:
    if near is None or warehouse_id not in stock.warehouses:
        return 0
    return int(distance_km(near, stock.warehouses[warehouse_id].location) // BAND_KM)


def _shortages(items: Sequence[Item], stock: Stock) -> tuple[Shortage, ...]:
    """Name each product there is not enough of, where the order may take it from."""
    short = []
    for item in items:
        available = sum(
            units
            for (warehouse, product), units in stock.free.items()
            if product == item.product_id and item.warehouse_id in (None, warehouse)
        )
        requested = sum(
            other.quantity
            for other in items
            if other.product_id == item.product_id and item.warehouse_id in (None, other.warehouse_id)
        )
        if available < requested:
            short.append(Shortage(product_id=item.product_id, requested=requested, available=available))
    return tuple({shortage.product_id: shortage for shortage in short}.values())
