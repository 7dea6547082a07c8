"""Decides which warehouse each unit of an order comes from."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from math import asin, cos, radians, sin, sqrt

from events.catalogue import ReservationFailure
from events.values import HeldLine, Item, Location, Shortage
from inventory_service.stock import Stock, StockKey

EARTH_RADIUS_KM = 6371.0
BAND_KM = 100.0
"""Width of a distance band: warehouses in the same band count as equally near."""
MAX_SETS = 2000
"""Sets of warehouses that are compared for one order; beyond that, a greedy search chooses."""
MAX_OFFERS = 100_000
"""Offers of stock that are read for that, in some 10 ms, while the event loop waits."""


@dataclass(frozen=True, slots=True)
class NoPlan:
    """Why an order cannot be held."""

    reason: ReservationFailure
    shortages: tuple[Shortage, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenDemand:
    """Units of a product that any of some equally near warehouses may provide, and how many each offers."""

    product_id: str
    units: int
    offers: Mapping[str, int]


def plan(
    order_id: str,
    items: Sequence[Item],
    near: Location | None,
    stock: Stock,
    band_km: float = BAND_KM,
) -> tuple[HeldLine, ...] | NoPlan:
    """Return the lines to hold, all of the order or none of it.

    A line that names its warehouse is taken from there. For the others, the plan has the least `cost`: as
    near as possible, then from as few warehouses as possible, then from the fullest stock. The names of the
    warehouses break ties. `band_km` is the width of a distance band.

    Choosing the fewest warehouses is a set cover problem, for which no fast algorithm is known: with more
    than MAX_SETS sets to compare, or MAX_OFFERS offers in them, the plan may use a few warehouses more.
    """
    if any(item.warehouse_id and item.warehouse_id not in stock.warehouses for item in items):
        return NoPlan("unknown_warehouse")
    if any(not stock.knows(item.product_id) for item in items):
        return NoPlan("unknown_product", _shortages(items, stock))
    taken = Counter[StockKey]()
    for item in items:
        if item.warehouse_id:
            taken[item.warehouse_id, item.product_id] += item.quantity
    if any(stock.available.get(key, 0) < units for key, units in taken.items()):
        return NoPlan("insufficient_stock", _shortages(items, stock))
    demands = []
    for item in items:
        if not item.warehouse_id:
            demand = _take_nearest_bands(item, near, stock, taken, band_km)
            if demand is None:
                return NoPlan("insufficient_stock", _shortages(items, stock))
            demands.append(demand)
    chosen = _smallest_cover(demands, {warehouse for warehouse, _ in taken}, stock)
    taken.update(_fill(demands, chosen, stock))
    return tuple(
        HeldLine(reservation_id=order_id, product_id=product, warehouse_id=warehouse, quantity=units)
        for (warehouse, product), units in taken.items()
    )


def cost(
    lines: Iterable[HeldLine], near: Location | None, stock: Stock, band_km: float = BAND_KM
) -> tuple[int, int, int]:
    """Return the cost of a plan, to be compared in this order: distance, shipments, load.

    - Distance: the sum, over all units, of the distance band of their warehouse (0 without a location).
    - Shipments: the number of warehouses.
    - Load: minus the sum, over all units, of the units their warehouse had available.
    """
    lines = list(lines)
    return (
        sum(line.quantity * _band(line.warehouse_id, near, stock, band_km) for line in lines),
        len({line.warehouse_id for line in lines}),
        -sum(line.quantity * stock.available[line.warehouse_id, line.product_id] for line in lines),
    )


def distance_km(a: Location, b: Location) -> float:
    """Return the great-circle distance, by the haversine formula."""
    north, east = radians(b.latitude - a.latitude), radians(b.longitude - a.longitude)
    chord = sin(north / 2) ** 2 + cos(radians(a.latitude)) * cos(radians(b.latitude)) * sin(east / 2) ** 2
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(chord)))


def _band(warehouse_id: str, near: Location | None, stock: Stock, band_km: float) -> int:
    if near is None or warehouse_id not in stock.warehouses:
        return 0
    return int(distance_km(near, stock.warehouses[warehouse_id].location) // band_km)


def _take_nearest_bands(
    item: Item, near: Location | None, stock: Stock, taken: Counter[StockKey], band_km: float
) -> OpenDemand | None:
    """Take whole bands, the nearest first; return the rest, to be chosen from the next band.

    None: there is not enough.
    """
    bands: dict[int, dict[str, int]] = {}
    for (warehouse, product), units in stock.available.items():
        left = units - taken[warehouse, product]
        if product == item.product_id and left > 0:
            bands.setdefault(_band(warehouse, near, stock, band_km), {})[warehouse] = left
    remaining = item.quantity
    for band in sorted(bands):
        offers = bands[band]
        if sum(offers.values()) >= remaining:
            return OpenDemand(item.product_id, remaining, offers)
        for warehouse, units in sorted(offers.items()):
            taken[warehouse, item.product_id] += units
            remaining -= units
    return None


def _smallest_cover(demands: Sequence[OpenDemand], used: Collection[str], stock: Stock) -> set[str]:
    """Return the fewest warehouses that, with those in use, cover the demands."""
    others = sorted({warehouse for demand in demands for warehouse in demand.offers} - set(used))
    compared, limit = 0, min(MAX_SETS, MAX_OFFERS // max(1, sum(len(demand.offers) for demand in demands)))
    for count in range(len(others) + 1):
        sets = islice(combinations(others, count), limit - compared)
        covering: list[set[str]] = []
        for extra in sets:
            compared += 1
            chosen = {*used, *extra}
            if not any(_shortfall(demand, chosen) for demand in demands):
                covering.append(chosen)
        if covering:
            return max(covering, key=lambda chosen: _fullness(demands, chosen, stock))
        if compared >= limit:
            break
    return _greedy_cover(demands, used, others)


def _greedy_cover(demands: Sequence[OpenDemand], used: Collection[str], others: Sequence[str]) -> set[str]:
    """Add the warehouse that covers most of the shortfall, until nothing is missing."""
    chosen, left = set(used), list(others)
    missing = [(_shortfall(demand, chosen), demand.offers) for demand in demands]

    def covered(warehouse: str) -> int:
        return sum(min(units, offers.get(warehouse, 0)) for units, offers in missing)

    while missing := [(units, offers) for units, offers in missing if units > 0]:
        best = max(left, key=covered)
        left.remove(best)
        chosen.add(best)
        missing = [(units - offers.get(best, 0), offers) for units, offers in missing]
    return chosen


def _shortfall(demand: OpenDemand, chosen: Collection[str]) -> int:
    offered = sum(units for warehouse, units in demand.offers.items() if warehouse in chosen)
    return max(0, demand.units - offered)


def _fullness(demands: Sequence[OpenDemand], chosen: Collection[str], stock: Stock) -> int:
    return sum(units * stock.available[key] for key, units in _fill(demands, chosen, stock).items())


def _fill(demands: Sequence[OpenDemand], chosen: Collection[str], stock: Stock) -> dict[StockKey, int]:
    """Take units from the chosen warehouses, the fullest first."""
    return {
        (warehouse, demand.product_id): units
        for demand in demands
        for warehouse, units in _taken(demand, chosen, stock)
    }


def _taken(demand: OpenDemand, chosen: Collection[str], stock: Stock) -> Iterator[tuple[str, int]]:
    remaining = demand.units
    fullest_first = sorted(
        set(demand.offers) & set(chosen), key=lambda name: (-stock.available[name, demand.product_id], name)
    )
    for warehouse in fullest_first:
        if units := min(remaining, demand.offers[warehouse]):
            yield warehouse, units
        remaining -= units


def _shortages(items: Sequence[Item], stock: Stock) -> tuple[Shortage, ...]:
    """Return each product that is short at the warehouses that the order may take it from."""
    short = []
    for item in items:
        available = sum(
            units
            for (warehouse, product), units in stock.available.items()
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
