"""Which warehouse each unit of an order comes from."""

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
"""Warehouses whose distance falls into the same band count as equally near."""
MAX_SETS = 2000
"""Sets of warehouses that are looked at for one order; beyond that, a good one will do."""
MAX_OFFERS = 100_000
"""Offers of stock that are looked at for that, in a few hundredths of a second: all else waits meanwhile."""


@dataclass(frozen=True, slots=True)
class NoPlan:
    """Why an order cannot be held."""

    reason: ReservationFailure
    shortages: tuple[Shortage, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenDemand:
    """Units of a product that may come from any of some equally near warehouses, and what each could give."""

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

    A line that names its warehouse is taken from there. Of all ways to take the others, this is the one with
    the least `cost`: from as near as can be, then from as few warehouses as can be, then from the fullest
    stock. Among equals, the names of the warehouses decide. `band_km` is how many kilometres count as equal.

    Choosing the fewest warehouses is a set cover, for which no quick way is known: where there are more than
    MAX_SETS sets to look at, or MAX_LOOKS offers in them, they may be a few more than the fewest.
    """
    if any(item.warehouse_id and item.warehouse_id not in stock.warehouses for item in items):
        return NoPlan("unknown_warehouse")
    if any(not stock.knows(item.product_id) for item in items):
        return NoPlan("unknown_product", _shortages(items, stock))
    taken = Counter[StockKey]()
    for item in items:
        if item.warehouse_id:
            taken[item.warehouse_id, item.product_id] += item.quantity
    if any(stock.available.get(place, 0) < units for place, units in taken.items()):
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
    """Return what a plan is judged by, the least first: nearness, then shipments, then load.

    - Nearness: the sum, over all units, of the distance band their warehouse is in (0 without a place).
    - Shipments: how many warehouses send something.
    - Load: minus the sum, over all units, of what their warehouse had of the product before.
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
    """Take every band that is needed whole; return what is left to choose from the next one.

    None: there is not enough.
    """
    bands: dict[int, dict[str, int]] = {}
    for (warehouse, product), units in stock.available.items():
        left = units - taken[warehouse, product]
        if product == item.product_id and left > 0:
            bands.setdefault(_band(warehouse, near, stock, band_km), {})[warehouse] = left
    wanted = item.quantity
    for band in sorted(bands):
        offers = bands[band]
        if sum(offers.values()) >= wanted:
            return OpenDemand(item.product_id, wanted, offers)
        for warehouse, units in sorted(offers.items()):
            taken[warehouse, item.product_id] += units
            wanted -= units
    return None


def _smallest_cover(demands: Sequence[OpenDemand], used: Collection[str], stock: Stock) -> set[str]:
    """Return the fewest warehouses that fill the openings together with those used anyway."""
    others = sorted({warehouse for demand in demands for warehouse in demand.offers} - set(used))
    looked_at, most = 0, min(MAX_SETS, MAX_OFFERS // max(1, sum(len(demand.offers) for demand in demands)))
    for count in range(len(others) + 1):
        sets = islice(combinations(others, count), most - looked_at)
        able: list[set[str]] = []
        for extra in sets:
            looked_at += 1
            chosen = {*used, *extra}
            if not any(_shortfall(demand, chosen) for demand in demands):
                able.append(chosen)
        if able:
            return max(able, key=lambda chosen: _fullness(demands, chosen, stock))
        if looked_at >= most:
            break
    return _greedy_cover(demands, used, others)


def _greedy_cover(demands: Sequence[OpenDemand], used: Collection[str], others: Sequence[str]) -> set[str]:
    """Add, again and again, the warehouse that fills the most of what is lacking."""
    chosen, left = set(used), list(others)
    lacking = [(_shortfall(demand, chosen), demand.offers) for demand in demands]

    def filled(warehouse: str) -> int:
        return sum(min(units, offers.get(warehouse, 0)) for units, offers in lacking)

    while lacking := [(units, offers) for units, offers in lacking if units > 0]:
        best = max(left, key=filled)
        left.remove(best)
        chosen.add(best)
        lacking = [(units - offers.get(best, 0), offers) for units, offers in lacking]
    return chosen


def _shortfall(demand: OpenDemand, chosen: Collection[str]) -> int:
    offered = sum(units for warehouse, units in demand.offers.items() if warehouse in chosen)
    return max(0, demand.units - offered)


def _fullness(demands: Sequence[OpenDemand], chosen: Collection[str], stock: Stock) -> int:
    return sum(units * stock.available[place] for place, units in _fill(demands, chosen, stock).items())


def _fill(demands: Sequence[OpenDemand], chosen: Collection[str], stock: Stock) -> dict[StockKey, int]:
    """Draw on the fullest of the chosen warehouses first."""
    return {
        (warehouse, demand.product_id): units
        for demand in demands
        for warehouse, units in _drawn(demand, chosen, stock)
    }


def _drawn(demand: OpenDemand, chosen: Collection[str], stock: Stock) -> Iterator[tuple[str, int]]:
    wanted = demand.units
    fullest_first = sorted(
        set(demand.offers) & set(chosen), key=lambda name: (-stock.available[name, demand.product_id], name)
    )
    for warehouse in fullest_first:
        if units := min(wanted, demand.offers[warehouse]):
            yield warehouse, units
        wanted -= units


def _shortages(items: Sequence[Item], stock: Stock) -> tuple[Shortage, ...]:
    """Name each product there is not enough of, where the order may take it from."""
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
