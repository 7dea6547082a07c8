"""Runs the reactions of the payment service, and asks the provider for what they intend.

An intent is saved before the provider is asked, and its answer is saved, together with what follows from it,
before anything is published. A crash in between repeats the call with the same key.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import structlog

from events.catalogue import PAYMENT, Event, PaymentRequested
from payment_service.mongo_store import PaymentStore
from payment_service.payment import Payment, parse_idempotency_key
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
from payment_service.reactions import REACTIONS, TRANSITIONS, Retries
from saga.errors import Unavailable
from saga.messaging.results import Deferred, Handled, Result, Retry
from saga.reactions.application import Application
from saga.reactions.engine import Engine
from saga.reactions.step import Outcome, Step
from saga.timers.relay import Relay

log = structlog.get_logger()

DUE_LIMIT = 200


class PaymentApplication(Application[Payment, datetime]):
    """The payment service without its doors.

    `call_timeout` (s) is how long a message waits for an answer, `retries` how a refused refund is tried
    again.
    """

    def __init__(
        self,
        store: PaymentStore,
        relay: Relay,
        provider: Provider,
        clock: Callable[[], datetime],
        call_timeout: float,
        retries: Retries,
    ) -> None:
        super().__init__(PAYMENT, REACTIONS, TRANSITIONS, Engine(PAYMENT, store, clock), relay)
        self.store = store
        self._provider = provider
        self._clock = clock
        self._call_timeout = call_timeout
        self._retries = retries
        self._calls: dict[str, asyncio.Task[Answer | None]] = {}

    async def handle(self, events: Sequence[Event]) -> list[Result]:
        """React to a batch of events; those that need the provider are answered later."""
        await self.provider_available()
        return await super().handle(events)

    def verdict(self, step: Step[Payment, datetime], outcome: Outcome[Payment]) -> Result:
        """See `Application`; a payment under way is answered later."""
        if outcome.error is None and outcome.state and outcome.state.in_progress:
            return Deferred(asyncio.ensure_future(self._complete_for_message(step, outcome)))
        return super().verdict(step, outcome)

    async def available(self) -> None:
        """Return if database and provider can be asked.

        Raises:
            Unavailable: one of them cannot.
        """
        await self.store.ping()
        await self.provider_available()

    async def provider_available(self) -> None:
        """Return if the provider can be asked.

        Raises:
            Unavailable: it cannot.
        """
        try:
            await self._provider.check()
        except ProviderDown as error:
            raise Unavailable(f"the payment provider is away: {error}") from error

    async def charge_directly(self, request: PaymentRequested) -> Payment:
        """Charge for somebody who asks over HTTP; return the payment as it is when the answer is there, or
        when the time to wait for it is over."""
        payment = await self.transit("charge_directly", request.order_id, request.order_id, request)
        return await self._drive_to_answer(payment) if payment.in_progress else payment

    async def refund_directly(self, order_id: str) -> Payment:
        """Pay back for somebody who asks over HTTP.

        Raises:
            OutOfOrder, Refused: there is no such payment, or its state does not allow it.
        """
        known = await self.store.get(order_id)
        attempt = known.refund_attempt if known else 0
        payment = await self.transit("refund_directly", order_id, order_id, occasion=f"-{attempt}")
        return await self._drive_to_answer(payment) if payment.in_progress else payment

    async def handle_notification(self, notification: Notification) -> None:
        """Ask the provider what has become of what it gives notice of; what is not ours, or is settled, is
        left alone.

        Raises:
            Unavailable: it cannot be asked now, or the answer not be saved; it should give notice again.
        """
        asked = parse_idempotency_key(notification.key)
        payment = await self.store.get(asked.order_id) if asked else None
        meant = (
            _payment_addressed_by(payment, asked.attempt, notification.reference)
            if payment and asked
            else None
        )
        if meant is None:
            self._ignore(notification)
            return
        answer = await self._limited(
            meant, lambda: self._provider.fetch(_provider_request(meant), notification.reference)
        )
        if answer is None:
            raise Unavailable("the payment provider does not say what it has given notice of")
        if payment and payment.charge_id and meant.status == "charging":
            if isinstance(answer, Approved) and answer.charge_id != payment.charge_id:
                await self._pay_back_another(payment, answer.charge_id)
            else:
                self._ignore(notification)
            return
        if isinstance(answer, Pending) and meant.pending == notification.reference:
            self._ignore(notification)
            return
        outcome = await self.soon(self._answered(meant, answer))
        if outcome.name == "conflict":
            raise Unavailable(str(outcome.error))

    def _ignore(self, notification: Notification) -> None:
        log.info("notice_ignored", key=notification.key, reference=notification.reference)

    async def _pay_back_another(self, payment: Payment, charge_id: str) -> None:
        """Pay back what was charged a second time, by a provider that did not recognise our key.

        Nothing of it is stored: the provider knows by the refund's key what it has done, and gives notice
        again for as long as this fails.

        Raises:
            Unavailable: it was not paid back.
        """
        refund = Refund(
            f"twice-{charge_id}", charge_id, payment.amount, payment.currency, payment.payment_method
        )
        answer = await self._limited(payment, lambda: self._provider.refund(refund))
        log.error("charged_twice", order_id=payment.order_id, charge=charge_id, paid_back=repr(answer))
        if answer is None or isinstance(answer, RefundRefused):
            raise Unavailable("a second charge was not paid back")

    async def retry_due(self) -> None:
        """Ask the provider again for every intent that nobody has carried out in time."""
        await self.provider_available()
        left = await self.store.due(DUE_LIMIT)
        results = await asyncio.gather(
            *(self._drive_to_answer(payment) for payment in left), return_exceptions=True
        )
        for error in (result for result in results if isinstance(result, Exception)):
            raise error

    async def _drive_to_answer(self, payment: Payment) -> Payment:
        """Carry out what no message waits for."""
        answer = await self._ask(payment)
        if answer is None:
            await self.soon(self._unanswered(payment))
            return payment
        outcome = await self.soon(self._answered(payment, answer))
        if outcome.error is not None or outcome.state is None:
            return payment
        return (
            await self._drive_to_answer(outcome.state)
            if _to_be_undone(payment, outcome.state)
            else outcome.state
        )

    async def _complete_for_message(
        self, asked: Step[Payment, datetime], outcome: Outcome[Payment]
    ) -> Handled | Retry:
        """Carry out what a message asked for, which is acknowledged after that.

        Without an answer in time, or a decision, the message is done all the same: the intent is kept, and
        swept up. A refund is left to the message that asked for it, or to the sweeper, and one that was
        refused to the sweeper alone: a repeated message must not shorten the pauses.
        """
        payment = outcome.state
        refunds = asked.name != PaymentRequested.__name__
        while payment and _is_due(payment, refunds) and (answer := await self._ask(payment)):
            answered = await self.soon(self._answered(payment, answer))
            if answered.error is not None:
                return Retry(repr(answered.error))
            if answered.state is None or not _to_be_undone(payment, answered.state):
                break
            payment = answered.state
        return Handled(outcome.emitted)

    async def _ask(self, payment: Payment) -> Answer | None:
        """Return the provider's answer, or None if there is none in time; one call at a time for each key."""
        key = payment.charge_key if payment.status == "charging" else payment.refund_key
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = asyncio.create_task(
                self._limited(payment, lambda: self._call_provider(payment))
            )
            call.add_done_callback(lambda _: self._calls.pop(key, None))
        return await asyncio.shield(call)

    async def _call_provider(self, payment: Payment) -> Answer:
        wanted, reference = _provider_request(payment), payment.pending
        if isinstance(wanted, Refund):
            if reference is None:
                return await self._provider.refund(wanted)
        elif reference is None:
            return await self._provider.charge(wanted)
        elif payment.refund_when_charged or (payment.cancel_at and payment.cancel_at <= self._clock()):
            return await self._provider.cancel(wanted, reference)
        return await self._provider.fetch(wanted, reference)

    async def _limited(self, payment: Payment, call: Callable[[], Awaitable[Answer]]) -> Answer | None:
        try:
            async with asyncio.timeout(self._call_timeout):
                return await call()
        except TimeoutError:
            log.warning("provider_silent", order_id=payment.order_id, status=payment.status)
        except NoAnswer as error:
            log.warning("provider_undecided", order_id=payment.order_id, reason=repr(error))
        return None

    def _unanswered(self, payment: Payment) -> Step[Payment, datetime]:
        rule = TRANSITIONS["unanswered"]
        return Step(
            key=payment.order_id,
            name="unanswered",
            recorded_under="unanswered",
            correlation_id=payment.correlation_id,
            react=rule,
            continues=True,
        )

    def _answered(self, payment: Payment, answer: Answer) -> Step[Payment, datetime]:
        """Return the step that an answer is.

        What it publishes goes through the relay: whoever saves it may have lost its message meanwhile, to
        somebody who has acknowledged it without an answer.
        """
        charging = payment.status == "charging"
        name = "charge_answered" if charging else "refund_answered"
        said = (answer,) if charging else (answer, payment.refund_attempt, self._retries)
        rule = TRANSITIONS[name]
        return Step(
            key=payment.order_id,
            name=name,
            recorded_under=f"{name}-{payment.refund_attempt}",
            correlation_id=payment.correlation_id,
            react=lambda state, now: rule(state, *said, now),
            continues=True,
            relayed=True,
        )


def _provider_request(payment: Payment) -> Charge | Refund:
    """Return what the provider is to do."""
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


def _payment_addressed_by(payment: Payment, attempt: int, reference: str) -> Payment | None:
    """Return the payment as it is, or was, when this is asked of the provider: its charge (0), or an attempt
    to refund it; None if there is nothing to learn."""
    if attempt:
        waits = payment.status in ("refunding", "refundFailed") and payment.refund_attempt == attempt
        return payment if waits else None
    return None if payment.charge_id == reference else payment.model_copy(update={"status": "charging"})


def _is_due(payment: Payment, refunds: bool) -> bool:
    """Tell whether a message has the provider asked now."""
    return payment.status == "charging" or (
        refunds and payment.status == "refunding" and payment.refund_attempt == 1
    )


def _to_be_undone(before: Payment, after: Payment) -> bool:
    """Tell whether a charge has just been made that is to be paid back."""
    return before.status == "charging" and after.status == "refunding"
