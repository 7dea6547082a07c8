"""What only a simulated world shows is broken once, and must be reported."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.support.builders import PRICE
from tests.support.cases import CONFIRMED, CREATED, FAILED, SOUND, UNREFUNDED, order
from verification.invariants.case import Case
from verification.invariants.names import Finding, Invariant
from verification.invariants.order import kept, lost_orders
from verification.invariants.world import (
    events_are_published,
    provider_agrees,
    recorded_before_published,
    refund_is_awaited,
)

LATE_APPROVAL = SOUND["late approval"]
BROKEN: list[tuple[Invariant, list[Finding]]] = [
    (
        Invariant.RECORDED_BEFORE_PUBLISHED,
        list(recorded_before_published(CONFIRMED, [CREATED["eventId"], "another"])),
    ),
    (Invariant.EVENTS_ARE_PUBLISHED, list(events_are_published(CONFIRMED, [CREATED], ["another"]))),
    (Invariant.PROVIDER_AGREES, list(provider_agrees(CONFIRMED, Decimal(0)))),
    (Invariant.PROVIDER_AGREES, list(provider_agrees(Case("o-1"), PRICE))),
    (Invariant.REFUND_IS_AWAITED, list(refund_is_awaited(LATE_APPROVAL, charged_unasked=False))),
    (Invariant.NO_ORDER_IS_LOST, list(lost_orders({"o-1"}))),
]


@pytest.mark.parametrize(("invariant", "found"), BROKEN)
def test_a_broken_invariant_is_found(invariant: Invariant, found: list[Finding]) -> None:
    assert [(one.invariant, one.subject) for one in found] == [(invariant, "o-1")]


@pytest.mark.parametrize("case", SOUND.values(), ids=SOUND.keys())
def test_a_sound_world_has_no_findings(case: Case) -> None:
    ids = [event["eventId"] for event in case.events]
    last = [event_id for event_id in ids if event_id.startswith("Order")]
    assert list(recorded_before_published(case, last)) == []
    assert list(events_are_published(case, case.events, ids)) == []
    assert list(provider_agrees(case, kept(case.payment.state if case.payment else None))) == []
    assert list(refund_is_awaited(case, charged_unasked=case is LATE_APPROVAL)) == []


def test_an_order_that_waits_for_its_refund_is_sound() -> None:
    assert list(refund_is_awaited(UNREFUNDED, charged_unasked=False)) == []
    ended = replace(UNREFUNDED, order=order("failed", FAILED))
    assert len(list(refund_is_awaited(ended, charged_unasked=False))) == 1
