"""The workload is the same in every process, and a system that ends an order wrongly is found out."""

from dataclasses import replace

from benchmarks.workload import PLACES, STOCKED, differences, expected, number_of, order, order_id

COUNT = 20


def test_an_order_is_the_same_wherever_it_is_drawn() -> None:
    assert order(17) == order(17) != order(18)
    assert number_of(order_id(17)) == 17


def test_an_order_has_two_lines_of_different_products() -> None:
    for number in range(COUNT):
        first, second = order(number).lines
        assert first.product != second.product
        assert {first.place, second.place} <= {*PLACES}


def test_every_tenth_order_is_declined() -> None:
    assert [number for number in range(COUNT) if order(number).declined] == [7, 17]


def test_only_confirmed_orders_take_stock() -> None:
    before, after = expected(7), expected(8)
    assert after.statuses[order_id(7)] == "failed"
    assert before.stock == after.stock


def test_the_expected_ends_differ_in_nothing_from_themselves() -> None:
    assert differences(expected(COUNT), COUNT) == []


def test_each_wrong_end_is_named() -> None:
    right = expected(COUNT)
    place = order(0).lines[0].place
    available, _, allocated = right.stock[place]
    wrong = replace(
        right,
        statuses={**right.statuses, order_id(3): "failed"},
        stock={**right.stock, place: (available - 1, 1, allocated)},
        payments={"charged": COUNT},
        reservations={**right.reservations, "held": 1},
    )
    found = differences(wrong, COUNT)
    assert [line.split()[3] for line in found] == ["statuses", "stock", "payments", "reservations"]
    assert order_id(3) in found[0]


def test_a_missing_order_is_a_difference() -> None:
    right = expected(COUNT)
    fewer = {name: status for name, status in right.statuses.items() if name != order_id(4)}
    assert len(differences(replace(right, statuses=fewer), COUNT)) == 1


def test_all_stock_is_accounted_for() -> None:
    for level in expected(COUNT).stock.values():
        assert sum(level) == STOCKED
