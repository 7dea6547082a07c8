"""The state table of a payment: only the listed events change it."""

from datetime import datetime
from typing import Any

import pytest

from events.catalogue import Event, PaymentRefundRequested, PaymentRequested
from payment_service.payment import Payment
from payment_service.providers.base import Declined
from payment_service.reactions import CHARGE_ANSWERED, REACTIONS, REFUND_ANSWERED, REFUND_DIRECTLY, Retries
from saga.reactions.reaction import Transition
from tests.support.builders import NOW
from tests.support.reactions import after
from tests.unit.payment_service.states import (
    APPROVED,
    CHARGED,
    CHARGING,
    DECLINED,
    LATER,
    PENDING,
    REFUND_FAILED,
    REFUND_MADE,
    REFUND_PENDING,
    REFUNDING,
    REFUSED,
    STATES,
    TO_BE_REFUNDED,
    charge_answered,
    direct,
    react,
    refund_answered,
)

CHANGES = {
    "charging": {PaymentRefundRequested},
    "pending": {PaymentRefundRequested},
    "charged": {PaymentRefundRequested},
    "refundFailed automatically": {PaymentRefundRequested},
}
"""Which events change the status of which payment, or what is done next."""


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("kind", REACTIONS, ids=lambda kind: kind.__name__)
def test_only_the_listed_events_change_a_payment(name: str, kind: type[Event]) -> None:
    before = STATES[name]
    state = after(react(before, kind))
    changed = (state.status, state.refund_when_charged, state.refund_attempt, state.next_attempt_at) != (
        before.status,
        before.refund_when_charged,
        before.refund_attempt,
        before.next_attempt_at,
    )
    assert changed == (kind in CHANGES.get(name, set()))
    assert (state.amount, state.currency, state.charge_id, state.refund_id) == (
        before.amount,
        before.currency,
        before.charge_id,
        before.refund_id,
    )


@pytest.mark.parametrize("kind", REACTIONS, ids=lambda kind: kind.__name__)
def test_every_event_of_a_rule_is_published_in_some_state(kind: type[Event]) -> None:
    states = [None, *STATES.values(), *map(direct, STATES.values())]
    published = {type(one) for before in states for one in react(before, kind).emits}
    assert published == set(REACTIONS[kind].publishes)


@pytest.mark.parametrize(
    ("rule", "answers"),
    [
        (CHARGE_ANSWERED, [(APPROVED,), (Declined("no_funds"),)]),
        (REFUND_ANSWERED, [(REFUND_MADE, 1, Retries(1)), (REFUSED, 1, Retries(1))]),
    ],
)
def test_every_event_of_an_answer_is_published_in_some_state(
    rule: Transition[Payment, datetime, *tuple[Any, ...]], answers: list[tuple[object, ...]]
) -> None:
    published = {
        type(one)
        for before in STATES.values()
        for answer in answers
        for one in rule(before, *answer, NOW).emits
    }
    assert published == set(rule.publishes)


def test_the_states_cover_every_status() -> None:
    assert {state.status for state in STATES.values()} == {
        *("charging", "charged", "declined", "void"),
        *("refunding", "refunded", "refundFailed"),
    }


def test_only_intents_are_due() -> None:
    results = [
        react(None, PaymentRequested),
        react(CHARGED, PaymentRefundRequested),
        charge_answered(CHARGING, APPROVED),
        charge_answered(CHARGING, Declined("x")),
        charge_answered(TO_BE_REFUNDED, APPROVED),
        charge_answered(TO_BE_REFUNDED, Declined("x")),
        charge_answered(DECLINED, APPROVED),
        refund_answered(REFUNDING, REFUND_MADE),
        refund_answered(REFUNDING, REFUSED),
        charge_answered(CHARGING, LATER),
        charge_answered(PENDING, APPROVED),
        charge_answered(PENDING, Declined("x")),
        refund_answered(REFUND_PENDING, REFUND_MADE),
        refund_answered(REFUND_FAILED, REFUSED),
        REFUND_DIRECTLY(REFUND_FAILED, NOW),
    ]
    for reaction in results:
        waits = after(reaction).in_progress or after(reaction).status == "refundFailed"
        assert (after(reaction).due_at is not None) == waits
