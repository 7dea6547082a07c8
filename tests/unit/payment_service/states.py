"""Payments in every state, and how the tests let one react."""

from typing import Any

from events.catalogue import Event, PaymentCompleted, PaymentRefunded
from payment_service.payment import Payment
from payment_service.providers.base import (
    Action,
    Approved,
    ChargeAnswer,
    Pending,
    RefundAnswer,
    Refunded,
    RefundRefused,
)
from payment_service.reactions import CHARGE_ANSWERED, FIRST_RETRY_AFTER, REACTIONS, REFUND_ANSWERED, Retries
from saga.reactions.reaction import Reaction
from tests.support.builders import NOW, PRICE, event, payment
from tests.support.reactions import after, types

REDIRECT = Action(kind="redirect", name="web_url", value="https://pay.example/1")
LATER = Pending("pr-1", (REDIRECT,))

CHARGING = payment()
PENDING = payment(
    pending_charge="pr-1", actions=(REDIRECT,), next_attempt_at=NOW + FIRST_RETRY_AFTER, unanswered_attempts=1
)
TO_BE_REFUNDED = payment(refund_when_charged=True, refund_record="e-refund")
PENDING_TO_BE_REFUNDED = PENDING.model_copy(update={"refund_when_charged": True, "refund_record": "e-refund"})
CHARGED = payment(status="charged", charge_id="ch-1", next_attempt_at=None)
DECLINED = payment(status="declined", reason="declined", next_attempt_at=None)
VOID = payment(
    status="void",
    user_id=None,
    request_record=None,
    refund_record="e-PaymentRefundRequested",
    next_attempt_at=None,
)
REFUNDING = payment(
    status="refunding",
    charge_id="ch-1",
    refund_attempt=1,
    refund_record="e-refund",
    next_attempt_at=NOW + FIRST_RETRY_AFTER,
)
REFUNDED = REFUNDING.model_copy(
    update={"status": "refunded", "refund_id": "re-1", "refunded_amount": PRICE, "next_attempt_at": None}
)
REFUND_PENDING = REFUNDING.model_copy(update={"pending_refund": "rfd-1", "unanswered_attempts": 1})
REFUND_RETRIED = REFUNDING.model_copy(update={"refund_attempt": 2, "reason": "refused"})
REFUND_FAILED = REFUND_RETRIED.model_copy(update={"status": "refundFailed", "refund_failure_published": True})
REFUNDING_AUTOMATICALLY = REFUNDING.model_copy(update={"refund_record": None})
REFUNDED_AUTOMATICALLY = REFUNDED.model_copy(update={"refund_record": None})
REFUND_FAILED_AUTOMATICALLY = REFUND_FAILED.model_copy(update={"refund_record": None})
STATES = {
    "charging": CHARGING,
    "pending": PENDING,
    "to be refunded": TO_BE_REFUNDED,
    "pending to be refunded": PENDING_TO_BE_REFUNDED,
    "charged": CHARGED,
    "declined": DECLINED,
    "void": VOID,
    "refunding": REFUNDING,
    "refund pending": REFUND_PENDING,
    "refund retried": REFUND_RETRIED,
    "refunded": REFUNDED,
    "refundFailed": REFUND_FAILED,
    "refunding automatically": REFUNDING_AUTOMATICALLY,
    "refunded automatically": REFUNDED_AUTOMATICALLY,
    "refundFailed automatically": REFUND_FAILED_AUTOMATICALLY,
}

CHARGING_STATES = {"charging", "pending", "to be refunded", "pending to be refunded"}
RETRIES = Retries(attempts=3, first_pause=FIRST_RETRY_AFTER)

APPROVED = Approved("ch-1")
REFUSED = RefundRefused("refused")
REFUND_MADE = Refunded("re-1")


def direct(before: Payment) -> Payment:
    """Return the same payment, made over HTTP for no saga."""
    of_no_saga = {"saga": False, "correlation_id": "o-1", "request_record": None}
    return before.model_copy(update={**of_no_saga, "refund_record": None, "refund_when_charged": False})


def react(before: Payment | None, kind: type[Event], **changes: Any) -> Reaction[Payment]:
    return REACTIONS[kind](before, event(kind, **changes), NOW)


def charge_answered(before: Payment | None, answer: ChargeAnswer) -> Reaction[Payment]:
    return CHARGE_ANSWERED(before, answer, NOW)


def refund_answered(before: Payment | None, answer: RefundAnswer) -> Reaction[Payment]:
    attempt = before.refund_attempt if before else 1
    return REFUND_ANSWERED(before, answer, attempt, RETRIES, NOW)


COMPLETED = PaymentCompleted(order_id="o-1", payment_id="o-1", amount=PRICE, currency="USD")
REFUNDED_EVENT = PaymentRefunded(
    order_id="o-1", amount=PRICE, currency="USD", payment_id="o-1", refund_id="re-1"
)
REFUNDED_NOTHING = PaymentRefunded(order_id="o-1", amount=0, currency="USD", payment_id="o-1")


def settle(
    reaction: Reaction[Payment],
    charge: ChargeAnswer = APPROVED,
    refund: RefundAnswer = REFUND_MADE,
) -> tuple[Payment, list[str]]:
    """Let the provider answer until nothing is due; return the payment and the types of the published
    events."""
    published = types(reaction)
    while after(reaction).due_at:
        if after(reaction).status == "charging":
            reaction = charge_answered(after(reaction), charge)
        else:
            reaction = refund_answered(after(reaction), refund)
        published += types(reaction)
    return after(reaction), published
