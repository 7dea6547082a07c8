"""Which warehouse each unit comes from, for any order on any stock."""

from collections import Counter
from collections.abc import Iterator
from itertools import product as every
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from events.values import HeldLine, Item, Location
from inventory_service import allocation
from inventory_service.allocation import NoPlan, cost, distance_km, plan
from inventory_service.stock import Stock, StockKey, Warehouse
from tests.support.builders import BERLIN, PARIS, TOKYO, WAREHOUSES
from tests.unit.inventory_service.allocation import NEW_YORK, by_warehouse, chosen, mug, tea

PRODUCTS = ("tea", "mug", "pot")
LEVELS = st.dictionaries(
    st.tuples(st.sampled_from(sorted(WAREHOUSES)), st.sampled_from(PRODUCTS)), st.integers(0, 12)
)
AMPLE = st.fixed_dictionaries(
    {(warehouse, product): st.integers(0, 40) for warehouse in sorted(WAREHOUSES) for product in PRODUCTS}
)
ORDERS = st.dictionaries(
    st.tuples(st.sampled_from(PRODUCTS), st.none() | st.sampled_from(sorted(WAREHOUSES))),
    st.integers(1, 12),
    min_size=1,
    max_size=6,
).map(
    lambda lines: [
        Item(product_id=product, quantity=units, warehouse_id=warehouse)
        for (product, warehouse), units in lines.items()
    ]
)
PLACES = st.none() | st.sampled_from([BERLIN, PARIS, TOKYO, NEW_YORK])


def fits(items: list[Item], available: dict[StockKey, int]) -> bool:
    """Return whether the order can be filled at all."""
    named: Counter[StockKey] = Counter()
    wanted: Counter[str] = Counter()
    for item in items:
        wanted[item.product_id] += item.quantity
        if item.warehouse_id:
            named[item.warehouse_id, item.product_id] += item.quantity
    total: Counter[str] = Counter()
    for (_, product), units in available.items():
        total[product] += units
    return all(units <= available.get(place, 0) for place, units in named.items()) and wanted <= total


class TestAnyOrderOnAnyStock:
    @given(LEVELS, ORDERS, PLACES)
    def test_there_is_a_plan_if_and_only_if_the_stock_suffices(
        self, available: dict[StockKey, int], items: list[Item], near: Location | None
    ) -> None:
        found = plan("o-1", items, near, Stock(available=dict(available), warehouses=WAREHOUSES))
        assert isinstance(found, NoPlan) != fits(items, available)

    @given(AMPLE, ORDERS, PLACES)
    def test_a_plan_covers_the_order_within_the_stock(
        self, available: dict[StockKey, int], items: list[Item], near: Location | None
    ) -> None:
        assume(fits(items, available))
        levels = Stock(available=dict(available), warehouses=WAREHOUSES)
        taken = chosen(items, near, levels)
        assert levels.available == available
        for place, units in taken.items():
            assert 0 < units <= available[place]
        for product in PRODUCTS:
            lines = [item for item in items if item.product_id == product]
            drawn = {warehouse: units for (warehouse, kind), units in taken.items() if kind == product}
            assert sum(drawn.values()) == sum(item.quantity for item in lines)
            for item in lines:
                assert item.warehouse_id is None or drawn[item.warehouse_id] >= item.quantity

    @given(LEVELS, ORDERS)
    def test_no_plan_says_why(self, available: dict[StockKey, int], items: list[Item]) -> None:
        assume(not fits(items, available))
        found = plan("o-1", items, None, Stock(available=dict(available), warehouses=WAREHOUSES))
        assert isinstance(found, NoPlan)
        unknown = {item.product_id for item in items} - {product for _, product in available}
        assert found.reason == ("unknown_product" if unknown else "insufficient_stock")
        assert found.shortages
        assert len({short.product_id for short in found.shortages}) == len(found.shortages)
        assert unknown <= {short.product_id for short in found.shortages}
        assert all(short.available < short.requested for short in found.shortages)

    @given(AMPLE, st.integers(1, 60), st.sampled_from([BERLIN, PARIS, TOKYO]))
    def test_units_come_from_as_near_as_possible(
        self, available: dict[StockKey, int], units: int, near: Location
    ) -> None:
        assume(fits([tea(units)], available))
        taken = by_warehouse([tea(units)], near, Stock(available=dict(available), warehouses=WAREHOUSES))

        def distance(warehouse: str) -> float:
            return distance_km(near, WAREHOUSES[warehouse].location)

        farthest = max(taken, key=distance)
        nearer = [name for name in WAREHOUSES if distance(name) < distance(farthest)]
        assert all(taken.get(name, 0) == available.get((name, "tea"), 0) for name in nearer)

    @given(LEVELS, ORDERS, PLACES, st.randoms())
    def test_the_same_stock_gives_the_same_plan(
        self, available: dict[StockKey, int], items: list[Item], near: Location | None, dice: Random
    ) -> None:
        shuffled = list(available.items())
        dice.shuffle(shuffled)
        assert plan("o-1", items, near, Stock(available=dict(available), warehouses=WAREHOUSES)) == plan(
            "o-1", items, near, Stock(available=dict(shuffled), warehouses=WAREHOUSES)
        )


NEIGHBOURS = {
    name: Warehouse(warehouse_id=name, location=Location(latitude=50, longitude=longitude))
    for name, longitude in (("a", 0), ("b", 0.2), ("c", 0.4), ("d", 3), ("e", 3.1))
}
"""Three warehouses within one band, and two within another."""


def ways(item: Item) -> Iterator[dict[StockKey, int]]:
    """Return every way to take one line."""
    names = [item.warehouse_id] if item.warehouse_id else sorted(NEIGHBOURS)
    for units in every(range(item.quantity + 1), repeat=len(names)):
        if sum(units) == item.quantity:
            yield {(name, item.product_id): count for name, count in zip(names, units, strict=True) if count}


def held(taken: Counter[StockKey]) -> list[HeldLine]:
    return [
        HeldLine(reservation_id="o-1", product_id=product, warehouse_id=warehouse, quantity=units)
        for (warehouse, product), units in taken.items()
    ]


def cheapest(items: list[Item], near: Location | None, levels: Stock) -> tuple[int, int, int] | None:
    """Return the least cost of all there are, found by trying everything; None where nothing fits."""
    costs = []
    for parts in every(*(list(ways(item)) for item in items)):
        taken = sum((Counter(part) for part in parts), Counter[StockKey]())
        if all(levels.available.get(place, 0) >= units for place, units in taken.items()):
            costs.append(cost(held(taken), near, levels))
    return min(costs, default=None)


SMALL_ORDERS = st.dictionaries(
    st.tuples(st.sampled_from(PRODUCTS[:2]), st.sampled_from([None, None, "a", "d"])),
    st.integers(1, 4),
    min_size=1,
    max_size=3,
).map(
    lambda lines: [
        Item(product_id=product, quantity=units, warehouse_id=warehouse)
        for (product, warehouse), units in lines.items()
    ]
)
SMALL_STOCK = st.fixed_dictionaries(
    {(name, product): st.integers(0, 3) for name in NEIGHBOURS for product in PRODUCTS[:2]}
)


class TestTheBestOfAllPlans:
    @settings(max_examples=300, deadline=None)
    @given(SMALL_STOCK, SMALL_ORDERS, st.none() | st.sampled_from([0.0, 3.0, 8.0]))
    def test_no_plan_costs_less(
        self, available: dict[StockKey, int], items: list[Item], longitude: float | None
    ) -> None:
        near = None if longitude is None else Location(latitude=50, longitude=longitude)
        levels = Stock(available=dict(available), warehouses=NEIGHBOURS)
        found = plan("o-1", items, near, levels)
        best = cheapest(items, near, levels)
        assert (None if isinstance(found, NoPlan) else cost(found, near, levels)) == best

    def test_one_warehouse_with_everything_comes_before_fuller_ones(self) -> None:
        available = {("a", "tea"): 9, ("b", "mug"): 9, ("c", "tea"): 2, ("c", "mug"): 2}
        levels = Stock(available=available, warehouses=NEIGHBOURS)
        assert chosen([tea(2), mug(2)], None, levels) == {("c", "tea"): 2, ("c", "mug"): 2}

    def test_the_width_of_a_band_can_be_set(self) -> None:
        levels = Stock(available={("a", "tea"): 1, ("d", "tea"): 9}, warehouses=NEIGHBOURS)
        here = Location(latitude=50, longitude=0)
        for width, warehouse in ((100.0, "a"), (1000.0, "d")):
            lines = plan("o-1", [tea(1)], here, levels, width)
            assert not isinstance(lines, NoPlan)
            assert [line.warehouse_id for line in lines] == [warehouse]

    @pytest.mark.parametrize(("limit", "most"), [("MAX_SETS", 3), ("MAX_OFFERS", 20), ("MAX_OFFERS", 0)])
    def test_a_greedy_search_bounds_the_time(
        self, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
    ) -> None:
        monkeypatch.setattr(allocation, limit, most)
        levels = Stock(available={(name, "tea"): 2 for name in NEIGHBOURS}, warehouses=NEIGHBOURS)
        taken = by_warehouse([tea(9)], None, levels)
        assert sum(taken.values()) == 9
        assert all(units <= 2 for units in taken.values())
