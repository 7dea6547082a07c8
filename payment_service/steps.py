"""The steps that a call to the provider causes: its claim, its answer, or the lack of one."""

from datetime import datetime

from payment_service.payment import Payment
from payment_service.providers.base import Answer
from payment_service.reactions import CHARGE_ANSWERED, CLAIM, REFUND_ANSWERED, UNANSWERED, Retries
from saga.reactions.reaction import Transition
from saga.reactions.step import Step


def claim_step(payment: Payment) -> Step[Payment, datetime]:
    """Return the step that claims a payment that is due, so that no other replica calls the provider too."""
    return _step(payment, CLAIM)


def unanswered_step(payment: Payment, message: str | None) -> Step[Payment, datetime]:
    """Return the step after which a message may be acknowledged without its answer."""
    return _step(payment, UNANSWERED, message)


def answered_step(
    payment: Payment, answer: Answer, retries: Retries, message: str | None = None
) -> Step[Payment, datetime]:
    """Return the step that an answer causes; `message` is the event whose message waits for it."""
    charging = payment.status == "charging"
    rule = CHARGE_ANSWERED if charging else REFUND_ANSWERED
    arguments = (answer,) if charging else (answer, payment.refund_attempt, retries)
    return Step(
        key=payment.order_id,
        name=rule.name,
        record_id=f"{rule.name}-{payment.refund_attempt}",
        correlation_id=payment.correlation_id,
        react=lambda state, now: rule(state, *arguments, now),
        message=message,
        continues=True,
    )


def _step(
    payment: Payment, transition: Transition[Payment, datetime], message: str | None = None
) -> Step[Payment, datetime]:
    return Step(
        key=payment.order_id,
        name=transition.name,
        record_id=transition.name,
        correlation_id=payment.correlation_id,
        react=transition,
        message=message,
        continues=True,
    )
