"""The ledgers agree with what they add up."""

from decimal import Decimal

from tests.support.cases import order, payment
from verification.invariants.books import Book
from verification.invariants.names import Invariant

CONFIRMED = {"USD confirmed": Decimal("50.00"), "USD orders": Decimal(2), "listed as confirmed": Decimal(2)}


def book() -> Book:
    """Return the book of two confirmed orders."""
    found = Book("order_service")
    for _ in range(2):
        found.add(order("confirmed").state)
    return found


def test_a_ledger_that_agrees_breaks_nothing() -> None:
    assert list(book().findings(CONFIRMED)) == []


def test_what_is_under_way_is_in_no_book() -> None:
    found = book()
    found.add(order("paid").state)
    assert list(found.findings(CONFIRMED)) == []


def test_each_wrong_sum_is_found() -> None:
    findings = list(book().findings(CONFIRMED | {"USD confirmed": Decimal(49), "EUR orders": Decimal(1)}))
    assert {one.invariant for one in findings} == {Invariant.BOOKS_AGREE}
    assert [one.text for one in findings] == [
        "EUR orders: the ledger has 1, not 0",
        f"USD confirmed: the ledger has 49, not {CONFIRMED['USD confirmed']}",
    ]


def test_an_empty_ledger_misses_what_was_charged() -> None:
    found = Book("payment_service")
    found.add(payment("charged").state)
    assert len(list(found.findings({}))) == 1
