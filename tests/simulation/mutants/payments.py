"""Mutants of the payment service."""

from datetime import datetime
from itertools import count

import payment_service.reactions as payments
from events.catalogue import (
    PaymentRefunded,
    PaymentRefundRequested,
    PaymentRequested,
)
from payment_service.application import PaymentApplication
from payment_service.payment import Payment
from payment_service.providers.base import ChargeAnswer, Declined, Pending, RefundAnswer, RefundRefused
from saga.reactions.reaction import Reaction
from tests.simulation.mutants.patching import Patch, put

DRIVE_TO_ANSWER = PaymentApplication._drive_to_answer


def charge_after_a_void(patch: Patch) -> None:
    def charge(payment: Payment | None, event: PaymentRequested, now: datetime) -> Reaction[Payment]:
        return payments.charge(None if payment and payment.status == "void" else payment, event, now)

    put(patch, payments.REACTIONS[PaymentRequested], charge)


def leave_no_void(patch: Patch) -> None:
    def refund(payment: Payment | None, event: PaymentRefundRequested, now: datetime) -> Reaction[Payment]:
        return payments.refund(payment, event, now) if payment else Reaction(None)

    put(patch, payments.REACTIONS[PaymentRefundRequested], refund)


def treat_silence_as_declined(patch: Patch) -> None:
    def claim(payment: Payment | None, now: datetime) -> Reaction[Payment]:
        if payment and payment.status == "charging":
            return payments.charge_answered(payment, Declined("silent"), now)
        return payments.claim(payment, now)

    put(patch, payments.CLAIM, claim)


def keep_a_late_approval(patch: Patch) -> None:
    def answered(payment: Payment, answer: ChargeAnswer, now: datetime) -> Reaction[Payment]:
        if payment.status in ("declined", "void"):
            return Reaction(payment)
        return payments.charge_answered(payment, answer, now)

    put(patch, payments.CHARGE_ANSWERED, answered)


def forget_the_pending_refund(patch: Patch) -> None:
    def answered(payment: Payment, answer: ChargeAnswer, now: datetime) -> Reaction[Payment]:
        return payments.charge_answered(
            payment.model_copy(update={"refund_when_charged": False}), answer, now
        )

    put(patch, payments.CHARGE_ANSWERED, answered)


def record_no_answer_for_its_request(patch: Patch) -> None:
    patch.setattr(payments, "_answer", lambda payment, under, event: Reaction(payment, [event]))


def accept_a_refusal_of_any_attempt(patch: Patch) -> None:
    def answered(
        payment: Payment, answer: RefundAnswer, attempt: int, retries: payments.Retries, now: datetime
    ) -> Reaction[Payment]:
        return payments.refund_answered(payment, answer, payment.refund_attempt, retries, now)

    put(patch, payments.REFUND_ANSWERED, answered)


def refund_under_a_new_key_after_silence(patch: Patch) -> None:
    def claim(payment: Payment | None, now: datetime) -> Reaction[Payment]:
        reaction = payments.claim(payment, now)
        if reaction.state is None or reaction.state == payment or reaction.state.status != "refunding":
            return reaction
        another = {"refund_attempt": reaction.state.refund_attempt + 1}
        return Reaction(reaction.state.model_copy(update=another))

    put(patch, payments.CLAIM, claim)


def treat_pending_as_declined(patch: Patch) -> None:
    def answered(payment: Payment | None, answer: ChargeAnswer, now: datetime) -> Reaction[Payment]:
        said = Declined("pending") if isinstance(answer, Pending) else answer
        reaction = payments.charge_answered(payment, said, now)
        if payment and payment.status == "declined":
            return Reaction(payment)
        return reaction

    put(patch, payments.CHARGE_ANSWERED, answered)


def never_ask_about_pending_payments(patch: Patch) -> None:
    async def drive(self: PaymentApplication, payment: Payment) -> Payment:
        return payment if payment.pending else await DRIVE_TO_ANSWER(self, payment)

    patch.setattr(PaymentApplication, "_drive_to_answer", drive)


def refund_a_pending_refund_under_a_new_key(patch: Patch) -> None:
    def answered(
        payment: Payment, answer: RefundAnswer, attempt: int, retries: payments.Retries, now: datetime
    ) -> Reaction[Payment]:
        if isinstance(answer, Pending):
            return payments.refund_answered(payment, RefundRefused("pending"), attempt, retries, now)
        return payments.refund_answered(payment, answer, attempt, retries, now)

    put(patch, payments.REFUND_ANSWERED, answered)


def charge_under_a_new_key_after_silence(patch: Patch) -> None:
    patch.setattr(Payment, "charge_key", property(lambda self: f"order-{self.unanswered_attempts}"))


def answer_without_refunding(patch: Patch) -> None:
    def refund(payment: Payment | None, event: PaymentRefundRequested, now: datetime) -> Reaction[Payment]:
        reaction = payments.refund(payment, event, now)
        if payment is None or reaction.state is None or reaction.state.status != "refunding":
            return reaction
        said = PaymentRefunded(order_id=event.order_id, amount=payment.amount, currency=payment.currency)
        return Reaction(reaction.state.model_copy(update={"status": "refunded"}), [said])

    put(patch, payments.REACTIONS[PaymentRefundRequested], refund)


def charge_under_a_random_key(patch: Patch) -> None:
    numbers = count()
    patch.setattr(Payment, "charge_key", property(lambda self: f"order-{self.order_id}-{next(numbers)}"))
