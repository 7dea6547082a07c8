"""The steps that an answer of the provider causes, or the lack of one."""

from datetime import datetime

from payment_service.payment import Payment
from payment_service.providers.base import Answer
from payment_service.reactions import CHARGE_ANSWERED, REFUND_ANSWERED, UNANSWERED, Retries
from saga.reactions.step import Step


def unanswered_step(payment: Payment) -> Step[Payment, datetime]:
    """Return the step that a call without an answer causes."""
    return Step(
        key=payment.order_id,
        name=UNANSWERED.name,
        record_id=UNANSWERED.name,
        correlation_id=payment.correlation_id,
        react=UNANSWERED,
        continues=True,
    )


def answered_step(payment: Payment, answer: Answer, retries: Retries) -> Step[Payment, datetime]:
    """Return the step that an answer causes.

    The relay publishes its events: the message may have been redelivered meanwhile, and acknowledged by
    another replica without an answer.
    """
    charging = payment.status == "charging"
    rule = CHARGE_ANSWERED if charging else REFUND_ANSWERED
    arguments = (answer,) if charging else (answer, payment.refund_attempt, retries)
    return Step(
        key=payment.order_id,
        name=rule.name,
        record_id=f"{rule.name}-{payment.refund_attempt}",
        correlation_id=payment.correlation_id,
        react=lambda state, now: rule(state, *arguments, now),
        continues=True,
        relayed=True,
    )
