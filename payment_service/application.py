"""Runs the reactions of the payment service, and calls the provider for what they intend.

An intent is saved before the call, and the answer is saved, together with the events that follow from it,
before anything is published. A crash in between repeats the call with the same key.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import structlog

from events.catalogue import PAYMENT, Event, PaymentRequested
from payment_service.payment import IdempotencyKey, Payment, parse_idempotency_key
from payment_service.providers.base import (
    Answer,
    Approved,
    Charge,
    NoAnswer,
    Notification,
    Pending,
    Provider,
    ProviderDown,
    Refund,
    RefundRefused,
)
from payment_service.reactions import CHARGE_DIRECTLY, REACTIONS, REFUND_DIRECTLY, Retries
from payment_service.steps import answered_step, claim_step, unanswered_step
from saga.errors import Unavailable
from saga.messaging.results import Deferred, Handled, Result, Retry
from saga.reactions.application import Application, Surroundings
from saga.reactions.step import Outcome, Step
from saga.reactions.store import AggregateStore

log = structlog.get_logger()


class PaymentApplication(Application[Payment, datetime]):
    """The payment service without HTTP API and broker.

    `call_timeout` is how many seconds a message waits for an answer, `retries` how a refused refund is
    retried.
    """

    def __init__(
        self,
        store: AggregateStore[Payment, datetime],
        around: Surroundings,
        provider: Provider,
        call_timeout: float,
        retries: Retries,
    ) -> None:
        super().__init__(PAYMENT, REACTIONS, store, around)
        self._provider = provider
        self._clock = around.clock
        self._call_timeout = call_timeout
        self._retries = retries
        self._calls: dict[str, asyncio.Task[Answer | None]] = {}

    async def handle(self, events: Sequence[Event]) -> list[Result]:
        """React to a batch of events; the results of those that need the provider are deferred."""
        await self.provider_available()
        return await super().handle(events)

    def result(self, step: Step[Payment, datetime], outcome: Outcome[Payment]) -> Result:
        """See `Application`; the result of a payment in progress is deferred."""
        if outcome.error is None and outcome.state and outcome.state.in_progress:
            return Deferred(asyncio.ensure_future(self._complete_for_message(step, outcome)))
        return super().result(step, outcome)

    async def available(self) -> None:
        """Return if the database and the provider are available.

        Raises:
            Unavailable: one of them is not.
        """
        await super().available()
        await self.provider_available()

    async def provider_available(self) -> None:
        """Return if the provider is available.

        Raises:
            Unavailable: it is not.
        """
        try:
            await self._provider.check()
        except ProviderDown as error:
            raise Unavailable(f"the payment provider is unavailable: {error}") from error

    async def charge_directly(self, request: PaymentRequested) -> Payment:
        """Charge outside any saga; return the payment after the answer or the timeout."""
        payment = await self.execute(CHARGE_DIRECTLY, request.order_id, request.order_id, request)
        return await self._drive_to_answer(payment) if payment.in_progress else payment

    async def refund_directly(self, order_id: str) -> Payment:
        """Refund a payment outside any saga, or retry a refund that the provider refused.

        Raises:
            OutOfOrder: there is no such payment.
            Refused: its state does not allow it.
        """
        known = await self.store.get(order_id)
        attempt = known.refund_attempt if known else 0
        payment = await self.execute(REFUND_DIRECTLY, order_id, order_id, deduplicate_by=f"-{attempt}")
        return await self._drive_to_answer(payment) if payment.in_progress else payment

    async def handle_notification(self, notification: Notification) -> None:
        """Fetch the decision that the provider notifies of; ignore one that is unknown or settled.

        Raises:
            Unavailable: the provider does not answer, or the answer cannot be saved; it should notify again.
        """
        key = parse_idempotency_key(notification.key)
        payment = await self.store.get(key.order_id) if key else None
        addressed = _payment_addressed_by(payment, key, notification.reference) if payment and key else None
        if payment is None or addressed is None:
            self._ignore(notification)
            return
        request = _provider_request(addressed)
        answer = await self._limited(addressed, lambda: self._provider.fetch(request, notification.reference))
        if answer is None:
            raise Unavailable("the payment provider does not answer about its notification")
        charged_before = payment.charge_id if addressed.status == "charging" else None
        if charged_before and isinstance(answer, Approved) and answer.charge_id != charged_before:
            await self._refund_second_charge(payment, answer.charge_id)
        elif charged_before or (isinstance(answer, Pending) and addressed.pending == notification.reference):
            self._ignore(notification)
        else:
            await self.save_answer(addressed, answer)

    async def save_answer(self, payment: Payment, answer: Answer) -> None:
        """Save what the provider answered about a payment in this state.

        Raises:
            Unavailable: other writers kept changing the payment.
        """
        outcome = await self.run(answered_step(payment, answer, self._retries))
        if outcome.name == "conflict":
            raise Unavailable(str(outcome.error))

    def _ignore(self, notification: Notification) -> None:
        log.info("notification_ignored", key=notification.key, reference=notification.reference)

    async def _refund_second_charge(self, payment: Payment, charge_id: str) -> None:
        """Refund a second charge of a provider that did not recognise the idempotency key.

        Nothing of it is stored: the provider recognises the refund's key, and repeats its notification for as
        long as this fails.

        Raises:
            Unavailable: the charge was not refunded.
        """
        refund = Refund(
            f"twice-{charge_id}", charge_id, payment.amount, payment.currency, payment.payment_method
        )
        answer = await self._limited(payment, lambda: self._provider.refund(refund))
        log.error("charged_twice", order_id=payment.order_id, charge=charge_id, refund=repr(answer))
        if answer is None or isinstance(answer, RefundRefused):
            raise Unavailable("a second charge was not refunded")

    async def act_on_time(self, due: Sequence[Payment]) -> None:
        """Ask the provider again about every intent that is due, and that no other replica has claimed."""
        await self.provider_available()
        claims = await self._runner.run([claim_step(payment) for payment in due], fresh=True)
        results = await asyncio.gather(
            *(
                self._drive_to_answer(claim.state)
                for claim in claims
                if claim.name == "handled" and claim.state
            ),
            return_exceptions=True,
        )
        for error in (result for result in results if isinstance(result, Exception)):
            raise error

    async def _drive_to_answer(self, payment: Payment) -> Payment:
        """Call the provider until it has answered; for payments that no message waits for.

        Without an answer, the payment is due again at the time that was saved with its claim.
        """
        answer = await self._ask(payment)
        if answer is None:
            return payment
        outcome = await self.run(answered_step(payment, answer, self._retries))
        if outcome.error is not None or outcome.state is None:
            return payment
        return (
            await self._drive_to_answer(outcome.state)
            if _to_be_refunded(payment, outcome.state)
            else outcome.state
        )

    async def _complete_for_message(
        self, step: Step[Payment, datetime], outcome: Outcome[Payment]
    ) -> Handled | Retry:
        """Call the provider for what a message requests, and return the message's result.

        Without an answer in time, or a decision, the message is handled all the same: the intent is stored,
        with the time at which it becomes due, and its answer then goes through the relay. Only the message
        that requested a refund, or the wake-up, calls for it; a refused one is left to the wake-up, since a
        repeated message must not shorten the pauses.
        """
        payment = outcome.state
        emitted = [*outcome.emitted]
        refunds = step.name != PaymentRequested.__name__
        while payment and _is_due(payment, refunds) and (answer := await self._ask(payment)):
            answered = await self.run(answered_step(payment, answer, self._retries, step.message))
            if answered.error is not None:
                return Retry(repr(answered.error))
            emitted += answered.emitted
            if answered.state is None or not _to_be_refunded(payment, answered.state):
                payment = answered.state
                break
            payment = answered.state
        if payment and payment.in_progress:
            unanswered = await self.run(unanswered_step(payment, step.message))
            if unanswered.error is not None:
                return Retry(repr(unanswered.error))
            emitted += unanswered.emitted
        return Handled(emitted)

    async def _ask(self, payment: Payment) -> Answer | None:
        """Return the provider's answer, or None after the timeout; one call at a time for each key."""
        key = payment.charge_key if payment.status == "charging" else payment.refund_key
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = asyncio.create_task(
                self._limited(payment, lambda: self._call_provider(payment))
            )
            call.add_done_callback(lambda _: self._calls.pop(key, None))
        return await asyncio.shield(call)

    async def _call_provider(self, payment: Payment) -> Answer:
        request, reference = _provider_request(payment), payment.pending
        if isinstance(request, Refund):
            if reference is None:
                return await self._provider.refund(request)
        elif reference is None:
            return await self._provider.charge(request)
        elif payment.refund_when_charged or (payment.cancel_at and payment.cancel_at <= self._clock()):
            return await self._provider.cancel(request, reference)
        return await self._provider.fetch(request, reference)

    async def _limited(self, payment: Payment, call: Callable[[], Awaitable[Answer]]) -> Answer | None:
        try:
            async with asyncio.timeout(self._call_timeout):
                return await call()
        except TimeoutError:
            log.warning("provider_timeout", order_id=payment.order_id, status=payment.status)
        except NoAnswer as error:
            log.warning("provider_undecided", order_id=payment.order_id, reason=repr(error))
        return None


def _provider_request(payment: Payment) -> Charge | Refund:
    """Return what to ask of the provider."""
    if payment.status == "charging":
        return Charge(
            payment.charge_key, payment.amount, payment.currency, payment.payment_method, payment.expires_at
        )
    return Refund(
        payment.refund_key,
        str(payment.charge_id),
        payment.amount,
        payment.currency,
        payment.payment_method,
    )


def _payment_addressed_by(payment: Payment, key: IdempotencyKey, reference: str) -> Payment | None:
    """Return the payment in the state in which the service makes this call: the charge (attempt 0), or an
    attempt to refund it; None if its answer is known."""
    if key.attempt:
        waits = payment.status in ("refunding", "refundFailed") and payment.refund_attempt == key.attempt
        return payment if waits else None
    return None if payment.charge_id == reference else payment.model_copy(update={"status": "charging"})


def _is_due(payment: Payment, refunds: bool) -> bool:
    """Return whether a message calls the provider now."""
    return payment.status == "charging" or (
        refunds and payment.status == "refunding" and payment.refund_attempt == 1
    )


def _to_be_refunded(before: Payment, after: Payment) -> bool:
    """Return whether a charge was made that has to be refunded at once."""
    return before.status == "charging" and after.status == "refunding"
