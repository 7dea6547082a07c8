"""The stock book: reservations and stock levels must agree."""

import pytest

from inventory_service.reservation import Reservation
from tests.support.cases import reservation
from verification.invariants.names import Invariant
from verification.invariants.stock import StockBook, StockLevel, changed_levels

TEA = ("berlin", "tea")
BROKEN: list[tuple[Invariant, StockLevel | None]] = [
    (Invariant.STOCK_ADDS_UP, StockLevel(5, 1, 0, 6, 1)),
    (Invariant.STOCK_ADDS_UP, StockLevel(5, 0, 1, 6, 1)),
    (Invariant.STOCK_IS_NOT_NEGATIVE, StockLevel(-1, 0, 2, 1, 1)),
    (Invariant.STOCK_IS_CONSERVED, StockLevel(5, 0, 2, 8, 1)),
    (Invariant.STOCK_IS_CONSERVED, StockLevel(5, 0, 2, 6, 1)),
    (Invariant.STOCK_ADDS_UP, None),
]
"""Levels that do not fit an allocation of two units."""


def book_of(*states: Reservation) -> StockBook:
    book = StockBook()
    for state in states:
        book.add(state)
    return book


def test_reservations_add_up_to_the_levels() -> None:
    states = [
        reservation(status).state for status in ("held", "allocated", "allocated", "released", "expired")
    ]
    book = book_of(*states, reservation("held", saga=False).state)
    assert list(book.findings({TEA: StockLevel(5, 4, 4, 13, 1)}, [TEA])) == []


@pytest.mark.parametrize(("invariant", "level"), BROKEN)
def test_a_level_that_does_not_fit_is_found(invariant: Invariant, level: StockLevel | None) -> None:
    book = book_of(reservation().state)
    levels = {} if level is None else {TEA: level}
    found = list(book.findings(levels, book.keys))
    assert [(one.invariant, one.subject) for one in found] == [(invariant, "berlin/tea")]


def test_a_level_with_a_new_version_has_changed() -> None:
    before = {("a", "tea"): StockLevel(1, 0, 0, 1, 1), ("b", "tea"): StockLevel(1, 0, 0, 1, 1)}
    after = {
        ("a", "tea"): StockLevel(1, 0, 0, 1, 3),
        ("b", "tea"): StockLevel(1, 0, 0, 1, 1),
        ("c", "tea"): StockLevel(1, 0, 0, 1, 1),
    }
    assert changed_levels(before, after) == {("a", "tea"), ("c", "tea")}
