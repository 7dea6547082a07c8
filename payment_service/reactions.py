"""The business of the payment service: what it does on which event.

Each reaction is a pure function of the payment (None: unknown), the event and the time. It returns the new
state of the payment and the events to publish. Nothing here calls the provider: the status `charging`,
`refunding` or `refundFailed` says that it has to be called, and `charge_answered` and `refund_answered` say
what follows from its answer.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from events.catalogue import (
    Event,
    PaymentCompleted,
    PaymentFailed,
    PaymentRefunded,
    PaymentRefundFailed,
    PaymentRefundRequested,
    PaymentRequested,
)
from payment_service.payment import Payment
from payment_service.providers.base import Approved, ChargeAnswer, Pending, RefundAnswer, Refunded
from saga.backoff import backoff
from saga.errors import OutOfOrder, Refused
from saga.reactions.reaction import Reaction, Reactions, Transition, Transitions, on, table

FIRST_RETRY_AFTER = timedelta(seconds=5)
"""How long an intent is left to the process that saved it before the sweep takes it up."""
LONGEST_RETRY_PAUSE = timedelta(minutes=5)
"""The longest pause between two calls about a charge or refund that the provider has not decided."""
LONGEST_REFUND_PAUSE = timedelta(hours=1)
"""The longest pause between two attempts at a refund, unless the first one is longer."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How a refused refund is retried: `first_pause` is doubled each time, and after `attempts` refusals an
    operator is needed."""

    attempts: int = 5
    first_pause: timedelta = timedelta(seconds=10)


def charge(payment: Payment | None, event: PaymentRequested, now: datetime) -> Reaction[Payment]:
    """Start to charge the customer, once for each order; a further request gets the first answer again."""
    if payment is None:
        return Reaction(_intent(event, saga=True, now=now))
    if payment.request_record:
        return Reaction(payment, repeat_of=payment.request_record)
    joined = payment.model_copy(
        update={"saga": True, "correlation_id": event.correlation_id, "request_record": event.event_id}
    )
    if payment.refund_record:
        return Reaction(joined, [_failed(joined, "refund_requested_first")])
    if payment.status == "charging":
        return Reaction(joined)
    if payment.status == "charged":
        return Reaction(joined, [_completed(joined)])
    return Reaction(joined, [_failed(joined, payment.reason or payment.status)])


def refund(payment: Payment | None, event: PaymentRefundRequested, now: datetime) -> Reaction[Payment]:
    """Refund the charge, or prevent it; a further request changes nothing."""
    if payment is None:
        return Reaction(
            Payment(
                order_id=event.order_id,
                correlation_id=str(event.correlation_id),
                status="void",
                amount=event.amount,
                currency=event.currency,
                idempotency_key=f"order-{event.order_id}",
                refunded_amount=0,
                refund_record=event.event_id,
            ),
            [PaymentRefunded(order_id=event.order_id, amount=0, currency=event.currency)],
        )
    if payment.refund_record:
        return Reaction(payment, repeat_of=payment.refund_record)
    requested = payment.model_copy(
        update={"saga": True, "refund_record": event.event_id, "correlation_id": event.correlation_id}
    )
    if payment.status == "charging":
        return Reaction(
            requested.model_copy(
                update={
                    "refund_when_charged": True,
                    "next_attempt_at": now + FIRST_RETRY_AFTER,
                    "unanswered_attempts": 0,
                }
            ),
        )
    if payment.status in ("charged", "refundFailed"):
        return Reaction(_refunding(requested.model_copy(update={"refund_failure_published": False}), now))
    if payment.status == "refunding":
        return Reaction(requested)
    return Reaction(requested, [_refunded(requested)])


def charge_answered(payment: Payment | None, answer: ChargeAnswer, now: datetime) -> Reaction[Payment]:
    """Record that the provider approved, declined, or deferred its decision. An approval that comes after the
    payment was declined or cancelled is refunded."""
    if payment is None:
        raise OutOfOrder("the answer to the charge of an unknown payment")
    if isinstance(answer, Pending):
        if payment.status != "charging":
            return Reaction(payment)
        waiting = {"pending_charge": answer.reference, "actions": answer.actions}
        return Reaction(_asked_later(payment.model_copy(update=waiting), now))
    if isinstance(answer, Approved):
        approved = payment.model_copy(
            update={"charge_id": answer.charge_id, "pending_charge": None, "actions": ()}
        )
        if payment.status in ("declined", "void") or (
            payment.status == "charging" and payment.refund_when_charged
        ):
            return Reaction(_refunding(approved, now))
        if payment.status == "charging":
            charged = approved.model_copy(update={"status": "charged", "next_attempt_at": None})
            return _answer(charged, payment.request_record, _completed(charged))
        return Reaction(payment)
    if payment.status != "charging":
        return Reaction(payment)
    declined = payment.model_copy(
        update={
            "status": "declined",
            "reason": answer.reason,
            "pending_charge": None,
            "actions": (),
            "next_attempt_at": None,
        }
    )
    if payment.refund_when_charged:
        return _answer(declined, payment.refund_record, _refunded(declined))
    return _answer(declined, payment.request_record, _failed(declined, answer.reason))


def refund_answered(
    payment: Payment | None, answer: RefundAnswer, attempt: int, retries: Retries, now: datetime
) -> Reaction[Payment]:
    """Record that the provider refunded the customer, refused, or deferred its decision.

    A refusal is final for its key: the next attempt has another key, and follows after a pause, a longer one
    each time, without limit. After some refusals, an event asks for an operator.

    The late refusal of an earlier attempt says nothing about the one in progress: taken for its answer, it
    would cause one more, and refund the customer twice.
    """
    if payment is None:
        raise OutOfOrder("the answer to the refund of an unknown payment")
    if payment.status not in ("refunding", "refundFailed") or payment.refund_attempt != attempt:
        return Reaction(payment)
    record = payment.refund_record or payment.request_record
    if isinstance(answer, Pending):
        waiting = payment.model_copy(update={"pending_refund": answer.reference})
        return Reaction(_asked_later(waiting, now))
    if isinstance(answer, Refunded):
        refunded = payment.model_copy(
            update={
                "status": "refunded",
                "refund_id": answer.refund_id,
                "pending_refund": None,
                "refunded_amount": payment.amount,
                "next_attempt_at": None,
            }
        )
        return _answer(refunded, record, _refunded(refunded))
    needs_operator = payment.refund_failure_published or attempt >= retries.attempts
    refused = payment.model_copy(
        update={
            "status": "refundFailed" if needs_operator else "refunding",
            "reason": answer.reason,
            "pending_refund": None,
            "refund_attempt": attempt + 1,
            "refund_failure_published": needs_operator,
            "next_attempt_at": now + backoff(retries.first_pause, attempt - 1, LONGEST_REFUND_PAUSE),
            "unanswered_attempts": 0,
        }
    )
    if not needs_operator or payment.refund_failure_published:
        return Reaction(refused)
    failure = PaymentRefundFailed(
        order_id=payment.order_id, reason=answer.reason, attempts=attempt, payment_id=payment.order_id
    )
    return _answer(refused, record, failure)


def claim(payment: Payment | None, now: datetime) -> Reaction[Payment]:
    """Claim a payment that is due for one call; if that stays without an answer, it is due after a pause, a
    longer one each time."""
    if payment is None or payment.next_attempt_at is None or payment.next_attempt_at > now:
        return Reaction(payment)
    return Reaction(_retried_later(payment, now))


def unanswered(payment: Payment | None, now: datetime) -> Reaction[Payment]:
    """Record that a message is acknowledged without its answer: the relay publishes it when it comes."""
    if payment is None or not payment.in_progress:
        return Reaction(payment)
    return Reaction(payment.model_copy(update={"relay_answers": True}))


def charge_directly(payment: Payment | None, event: PaymentRequested, now: datetime) -> Reaction[Payment]:
    """Start to charge a customer outside any saga; a payment that exists is left as it is."""
    return Reaction(payment or _intent(event, saga=False, now=now))


def refund_directly(payment: Payment | None, now: datetime) -> Reaction[Payment]:
    """Refund a payment that belongs to no saga, or retry a refund that the provider refused; a further
    request changes nothing.

    Raises:
        OutOfOrder: there is no such payment.
        Refused: it belongs to a saga, or nothing was charged.
    """
    if payment is None:
        raise OutOfOrder("no such payment")
    if payment.status == "refundFailed":
        return Reaction(_refunding(payment, now))
    if payment.status in ("refunding", "refunded") and (payment.refund_failure_published or not payment.saga):
        return Reaction(payment)
    if payment.saga:
        raise Refused("the payment belongs to a saga, and only the saga may change it")
    if payment.status != "charged":
        raise Refused(f"the payment is {payment.status}")
    return Reaction(_refunding(payment, now))


def _intent(event: PaymentRequested, *, saga: bool, now: datetime) -> Payment:
    return Payment(
        order_id=event.order_id,
        correlation_id=event.correlation_id or event.order_id,
        status="charging",
        saga=saga,
        user_id=event.user_id,
        amount=event.amount,
        currency=event.currency,
        idempotency_key=event.idempotency_key,
        payment_method=event.payment_method,
        expires_at=event.expires_at,
        refunded_amount=0,
        request_record=event.event_id if saga else None,
        next_attempt_at=now + FIRST_RETRY_AFTER,
    )


def _refunding(payment: Payment, now: datetime) -> Payment:
    """Return the payment with a refund in progress: the first attempt, or the next one after a refusal. Only
    a refusal makes another."""
    return payment.model_copy(
        update={
            "status": "refunding",
            "refund_attempt": max(payment.refund_attempt, 1),
            "next_attempt_at": now + FIRST_RETRY_AFTER,
            "unanswered_attempts": 0,
        }
    )


def _asked_later(payment: Payment, now: datetime) -> Payment:
    """Return the payment with its next call scheduled, unless the call that was answered has done that."""
    if payment.next_attempt_at and payment.next_attempt_at > now:
        return payment
    return _retried_later(payment, now)


def _retried_later(payment: Payment, now: datetime) -> Payment:
    """Return the payment with its next call scheduled, at the latest when the charge is to be cancelled."""
    next_attempt_at = now + backoff(FIRST_RETRY_AFTER, payment.unanswered_attempts, LONGEST_RETRY_PAUSE)
    if payment.cancel_at and now < payment.cancel_at:
        next_attempt_at = min(next_attempt_at, payment.cancel_at)
    return payment.model_copy(
        update={
            "next_attempt_at": next_attempt_at,
            "unanswered_attempts": min(payment.unanswered_attempts + 1, 10),
        }
    )


def _answer(payment: Payment, record: str | None, event: Event) -> Reaction[Payment]:
    """Publish the answer to the request with this record; without a saga, there is none.

    The message that waits for it publishes it, unless one was acknowledged without: that may be this very
    message, delivered once more to another replica.
    """
    if record:
        return Reaction(payment, [event], append_to=record, relay=payment.relay_answers)
    return Reaction(payment)


def _completed(payment: Payment) -> PaymentCompleted:
    return PaymentCompleted(
        order_id=payment.order_id,
        payment_id=payment.order_id,
        amount=payment.amount,
        currency=payment.currency,
    )


def _failed(payment: Payment, reason: str) -> PaymentFailed:
    return PaymentFailed(order_id=payment.order_id, reason=reason, payment_id=payment.order_id)


def _refunded(payment: Payment) -> PaymentRefunded:
    return PaymentRefunded(
        order_id=payment.order_id,
        amount=payment.refunded_amount,
        currency=payment.currency,
        payment_id=payment.order_id,
        refund_id=payment.refund_id,
    )


REACTIONS: Reactions[Payment, datetime] = table(
    on(PaymentRequested, charge, publishes=[PaymentFailed, PaymentCompleted], creates=True),
    on(PaymentRefundRequested, refund, publishes=[PaymentRefunded]),
)

CHARGE_ANSWERED = Transition(charge_answered, publishes=[PaymentCompleted, PaymentFailed, PaymentRefunded])
REFUND_ANSWERED = Transition(refund_answered, publishes=[PaymentRefunded, PaymentRefundFailed])
CLAIM = Transition(claim)
UNANSWERED = Transition(unanswered)
CHARGE_DIRECTLY = Transition(charge_directly, creates=True)
REFUND_DIRECTLY = Transition(refund_directly)
TRANSITIONS: Transitions[Payment, datetime] = (
    CHARGE_ANSWERED,
    REFUND_ANSWERED,
    CLAIM,
    UNANSWERED,
    CHARGE_DIRECTLY,
    REFUND_DIRECTLY,
)
"""What no event causes: the provider's answers, or a request over HTTP."""
