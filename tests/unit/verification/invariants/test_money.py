"""The money book: whatever was charged and not refunded must be for something."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.builders import NOW, PRICE
from tests.support.cases import AT_REST, CONFIRMED, RELEASED, RUNNING, SOUND, order, payment
from verification.invariants.case import Case
from verification.invariants.money import MoneyBook
from verification.invariants.names import Invariant, Timing

BROKEN: list[tuple[Invariant, Case]] = [
    (Invariant.MONEY_ADDS_UP, replace(CONFIRMED, payment=None)),
    (Invariant.MONEY_ADDS_UP, replace(RELEASED, payment=payment("charged"))),
    (Invariant.MONEY_ADDS_UP, Case("o-1", payment=payment("charged"))),
    (Invariant.MONEY_ADDS_UP, replace(CONFIRMED, payment=payment(currency="EUR"))),
]


def book_of(*cases: Case, timing: Timing = AT_REST) -> MoneyBook:
    book = MoneyBook()
    for case in cases:
        book.add(case, timing)
    return book


@pytest.mark.parametrize("case", SOUND.values(), ids=SOUND.keys())
def test_sound_cases_balance(case: Case) -> None:
    assert list(book_of(case, *SOUND.values()).findings()) == []


def test_each_amount_is_counted_once() -> None:
    paid = replace(CONFIRMED, order=order("paid"))
    dollars = book_of(*SOUND.values(), paid).by_currency["USD"]
    assert dollars.confirmed == dollars.in_progress == dollars.direct == PRICE
    assert dollars.charged == 5 * PRICE
    assert dollars.refunded == PRICE
    assert dollars.awaiting_manual_refund == 2 * PRICE


@pytest.mark.parametrize(("invariant", "case"), BROKEN)
def test_money_without_an_order_or_the_reverse_is_found(invariant: Invariant, case: Case) -> None:
    found = list(book_of(case, *SOUND.values()).findings())
    assert {one.invariant for one in found} == {invariant}
    assert "USD" in {one.subject for one in found}


def test_a_payment_whose_order_may_still_come_is_in_progress() -> None:
    early = Case("o-1", payment=replace(payment("charged"), updated_at=NOW - timedelta(minutes=1)))
    assert list(book_of(early, timing=RUNNING).findings()) == []
    assert list(book_of(early, timing=AT_REST).findings()) != []
