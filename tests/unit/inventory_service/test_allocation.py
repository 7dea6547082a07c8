"""Which warehouse the units of an order come from."""

from collections import Counter
from collections.abc import Iterator
from itertools import product as every
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from events.values import HeldLine, Item, Location, Shortage
from inventory_service import allocation
from inventory_service.allocation import BAND_KM, NoPlan, cost, distance_km, plan
from inventory_service.stock import Stock, StockKey, StockMove, Warehouse
from tests.support.builders import BERLIN, PARIS, TOKYO, WAREHOUSES, stock

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


class TestDistance:
    @pytest.mark.parametrize(
        ("a", "b", "kilometres"),
        [
            (BERLIN, PARIS, 878),
            (LONDON, NEW_YORK, 5570),
            (SYDNEY, TOKYO, 7822),
            (BERLIN, BERLIN, 0),
            (Location(latitude=0, longitude=179.5), Location(latitude=0, longitude=-179.5), 111.2),
            (Location(latitude=90, longitude=0), Location(latitude=-90, longitude=77), 20015),
            (Location(latitude=0, longitude=0), Location(latitude=0, longitude=180), 20015),
        ],
        ids=["Berlin-Paris", "London-New York", "Sydney-Tokyo", "here", "date line", "poles", "antipodes"],
    )
    def test_known_distances(self, a: Location, b: Location, kilometres: float) -> None:
        assert distance_km(a, b) == pytest.approx(kilometres, rel=0.002, abs=0.001)
        assert distance_km(b, a) == pytest.approx(distance_km(a, b))

    @given(*[st.builds(Location, latitude=st.floats(-90, 90), longitude=st.floats(-180, 180))] * 2)
    def test_no_distance_is_longer_than_half_way_round(self, a: Location, b: Location) -> None:
        assert 0 <= distance_km(a, b) <= 20016


class TestChoice:
    @pytest.mark.parametrize(
        ("near", "first"), [(POTSDAM, "berlin"), (LONDON, "paris"), (SYDNEY, "tokyo")], ids=str
    )
    def test_the_nearest_warehouse_is_drawn_on_first(self, near: Location, first: str) -> None:
        assert by_warehouse([tea(3)], near, stock(berlin=5, paris=5, tokyo=5)) == {first: 3}

    def test_the_next_nearest_gives_the_rest(self) -> None:
        assert by_warehouse([tea(8)], POTSDAM, stock(berlin=5, paris=2, tokyo=9)) == {
            "berlin": 5,
            "paris": 2,
            "tokyo": 1,
        }

    def test_within_one_band_the_fullest_is_drawn_on_first(self) -> None:
        half_way = Location(latitude=(BERLIN.latitude + PARIS.latitude) / 2, longitude=7.6)
        bands = {distance_km(half_way, place) // BAND_KM for place in (BERLIN, PARIS)}
        assert len(bands) == 1
        assert by_warehouse([tea(3)], half_way, stock(berlin=4, paris=5)) == {"paris": 3}

    def test_without_a_place_the_fullest_is_drawn_on_first(self) -> None:
        assert by_warehouse([tea(3)], None, stock(berlin=4, paris=3, tokyo=5)) == {"tokyo": 3}

    def test_equals_are_drawn_on_in_the_order_of_their_names(self) -> None:
        assert by_warehouse([tea(3)], None, stock(tokyo=5, paris=5, berlin=5)) == {"berlin": 3}

    def test_a_warehouse_in_use_comes_before_a_fuller_one(self) -> None:
        levels = stock(paris=9, berlin=5)
        levels.available["berlin", "mug"] = 1
        assert chosen([mug(1, "berlin"), tea(2)], None, levels) == {
            ("berlin", "mug"): 1,
            ("berlin", "tea"): 2,
        }

    def test_but_not_before_a_nearer_one(self) -> None:
        levels = stock(berlin=9, tokyo=9)
        levels.available["tokyo", "mug"] = 1
        assert chosen([mug(1), tea(2)], BERLIN, levels)["berlin", "tea"] == 2

    def test_a_line_that_names_its_warehouse_is_taken_from_there(self) -> None:
        assert by_warehouse([tea(3, "tokyo")], BERLIN, stock(berlin=9, tokyo=3)) == {"tokyo": 3}

    def test_and_before_another_line_empties_it(self) -> None:
        taken = chosen([tea(4), tea(3, "berlin")], BERLIN, stock(berlin=4, paris=3))
        assert taken == {("berlin", "tea"): 4, ("paris", "tea"): 3}

    def test_the_lines_carry_the_id_of_the_order(self) -> None:
        assert plan("o-7", [tea(1)], None, stock(berlin=1)) == (
            HeldLine(reservation_id="o-7", product_id="tea", warehouse_id="berlin", quantity=1),
        )

    def test_stock_taken_earlier_in_the_batch_is_unavailable(self) -> None:
        levels = stock(berlin=5)
        levels.apply([StockMove(("berlin", "tea"), available=-3, reserved=3)])
        assert isinstance(plan("o-1", [tea(3)], None, levels), NoPlan)
        levels.apply([StockMove(("berlin", "tea"), available=1, reserved=-1)])
        assert chosen([tea(3)], None, levels) == {("berlin", "tea"): 3}


class TestNoPlan:
    def test_an_unknown_warehouse_is_named_as_the_reason(self) -> None:
        assert plan("o-1", [tea(1), tea(1, "mars")], None, stock(berlin=5)) == NoPlan("unknown_warehouse")

    def test_an_unknown_product_is_named_as_the_reason(self) -> None:
        assert plan("o-1", [tea(1), mug(2)], None, stock(berlin=5)) == NoPlan(
            "unknown_product", (Shortage(product_id="mug", requested=2, available=0),)
        )

    def test_a_product_that_is_sold_out_is_not_unknown(self) -> None:
        assert plan("o-1", [tea(2)], None, stock(berlin=0)) == NoPlan(
            "insufficient_stock", (Shortage(product_id="tea", requested=2, available=0),)
        )

    def test_every_product_that_is_short_is_named_and_no_other(self) -> None:
        levels = stock(berlin=5, paris=1)
        levels.available |= {("berlin", "mug"): 1, ("berlin", "pot"): 9}
        pot = Item(product_id="pot", quantity=9)
        assert plan("o-1", [tea(7), pot, mug(2)], None, levels) == NoPlan(
            "insufficient_stock",
            (
                Shortage(product_id="tea", requested=7, available=6),
                Shortage(product_id="mug", requested=2, available=1),
            ),
        )

    def test_a_line_with_a_warehouse_is_short_of_its_stock_only(self) -> None:
        assert plan("o-1", [tea(3, "paris")], None, stock(berlin=9, paris=2)) == NoPlan(
            "insufficient_stock", (Shortage(product_id="tea", requested=3, available=2),)
        )

    def test_a_warehouse_that_never_had_the_product_has_none_of_it(self) -> None:
        assert plan("o-1", [tea(3, "tokyo")], None, stock(berlin=9)) == NoPlan(
            "insufficient_stock", (Shortage(product_id="tea", requested=3, available=0),)
        )

    def test_two_lines_of_one_product_are_short_together(self) -> None:
        assert plan("o-1", [tea(3), tea(3, "berlin")], None, stock(berlin=3, paris=2)) == NoPlan(
            "insufficient_stock", (Shortage(product_id="tea", requested=6, available=5),)
        )


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
    def test_there_is_a_plan_exactly_if_all_of_it_can_be_filled(
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
    def test_no_unit_comes_from_farther_away_than_it_must(
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
    def test_too_much_to_look_at_ends_in_a_plan_all_the_same(
        self, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
    ) -> None:
        monkeypatch.setattr(allocation, limit, most)
        levels = Stock(available={(name, "tea"): 2 for name in NEIGHBOURS}, warehouses=NEIGHBOURS)
        taken = by_warehouse([tea(9)], None, levels)
        assert sum(taken.values()) == 9
        assert all(units <= 2 for units in taken.values())
