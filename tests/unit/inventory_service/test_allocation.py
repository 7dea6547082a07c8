"""Which warehouse each unit comes from, by example."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.values import HeldLine, Item, Location, Shortage
from inventory_service.allocation import BAND_KM, NoPlan, distance_km, plan
from inventory_service.stock import StockMove
from tests.support.builders import BERLIN, PARIS, TOKYO, stock
from tests.unit.inventory_service.allocation import (
    LONDON,
    NEW_YORK,
    POTSDAM,
    SYDNEY,
    by_warehouse,
    chosen,
    mug,
    tea,
)


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

    def test_the_next_nearest_warehouse_provides_the_rest(self) -> None:
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

    def test_a_nearer_warehouse_comes_before_one_in_use(self) -> None:
        levels = stock(berlin=9, tokyo=9)
        levels.available["tokyo", "mug"] = 1
        assert chosen([mug(1), tea(2)], BERLIN, levels)["berlin", "tea"] == 2

    def test_a_line_that_names_its_warehouse_is_taken_from_there(self) -> None:
        assert by_warehouse([tea(3, "tokyo")], BERLIN, stock(berlin=9, tokyo=3)) == {"tokyo": 3}

    def test_a_line_with_a_warehouse_comes_before_other_lines(self) -> None:
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
