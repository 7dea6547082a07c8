"""Every move that may come next in the model of one order."""

from collections.abc import Iterator, Sequence
from itertools import combinations

from events.catalogue import SERVICES, PaymentRefundRequested, PaymentRequested
from inventory_service.reactions import CONFIRM_DIRECTLY, EXPIRE, HOLD_DIRECTLY, RELEASE_DIRECTLY
from order_service.reactions import CANCEL, MISS_DEADLINE, PLACE
from payment_service.payment import Payment
from payment_service.providers.base import Answer, Approved, Declined, Pending, Refunded, RefundRefused
from payment_service.reactions import CHARGE_DIRECTLY, REFUND_DIRECTLY
from payment_service.steps import answered_step, claim_step
from verification.model_checker.model import RETRIES, ModelBase, State, Successor, without
from verification.model_checker.services import MIDNIGHT, Effect

ANSWERS: dict[str, Answer] = {
    "approved": Approved("ch-1"),
    "declined": Declined("declined"),
    "refunded": Refunded("re-1"),
    "refused": RefundRefused("refused"),
    "pending": Pending("later-1"),
}


class SingleOrderModel(ModelBase):
    """Everything that can happen to one order with these faults, each as often as it is named."""

    def moves(self, state: State) -> Iterator[Successor]:
        """Return everything that may happen next."""
        yield from self._deliveries(state)
        yield from self._placing(state)
        yield from self._provider(state)
        yield from self._people_and_clocks(state)
        yield from self._over_http(state)
        if self.may(state, "late"):
            yield from self._late_answers(state)
        if self.has_struck(state, "pending"):
            yield from self._stale_answers(state)
        if self.may(state, "wipe"):
            yield from self._wipes(state)
        if self.has_struck(state, "wipe") and not state.flight:
            yield from self._nudges(state, fair=True, left=state.left)
        if self.may(state, "nudge"):
            yield from self._nudges(state, fair=False, left=self.spent(state, "nudge"))

    def _deliveries(self, state: State) -> Iterator[Successor]:
        for message in dict.fromkeys(state.flight):
            event, place = self.messages[message]
            effect = self.services[place].handle(state.cell(place), event, state.levels if place == 1 else 0)
            rest = without(state.flight, message)
            if not effect.waits:
                published = (*effect.emitted, *effect.relayed)
                after = self.after(state, place, effect, rest, published)
                yield Successor(True, (f"{SERVICES[place]} handles {{}}", (event,)), after)
                if self.may(state, "crash"):
                    yield from self._crashes(state, place, effect, event)
            if self.may(state, "duplicate"):
                twice = self.flight(state.flight, (message,))
                yield Successor(
                    False,
                    (f"DUPLICATE of {{}} for {SERVICES[place]}", (event,)),
                    state._replace(flight=twice, left=self.spent(state, "duplicate")),
                )

    def _crashes(self, state: State, place: int, effect: Effect, event: int) -> Iterator[Successor]:
        """The service crashes after saving, with any of its events published; the message is redelivered."""
        left = self.spent(state, "crash")
        for published in _subsets(effect.emitted):
            done = f", and has published {_braces(published)}" if published else ""
            text = f"{SERVICES[place]} CRASHES before acknowledging {{}}; it has saved it{done}"
            after = self.after(state, place, effect, state.flight, (*published, *effect.relayed), left)
            yield Successor(False, (text, (event, *published)), after)

    def _placing(self, state: State) -> Iterator[Successor]:
        if "adopt" not in self.index and self.orders.state(state.order) is None:
            effect = self.orders.execute(state.order, PLACE, self.wanted)
            yield from self._transition(state, 0, effect, "the customer places the order", fair=True)

    def _provider(self, state: State) -> Iterator[Successor]:
        payment = self.payments.state(state.payment)
        if payment is None:
            return
        if payment.status == "refundFailed" or "charge" in self.index:
            effect = self.payments.execute(
                state.payment, REFUND_DIRECTLY, deduplicate_by=f"-{payment.refund_attempt}"
            )
            yield from self._transition(state, 2, effect, "the payment is REFUNDED directly", fair=False)
        if payment.in_progress or payment.status == "refundFailed":
            yield from self._decisions(state, payment)

    def _decisions(self, state: State, payment: Payment) -> Iterator[Successor]:
        """The provider decides on a request, and the payment service saves the answer.

        It may refuse a refund again and again.
        """
        charging = payment.status == "charging"
        key = payment.charge_key if charging else payment.refund_key
        decided = next((word for known, word, _ in self.providers[state.provider] if known == key), None)
        if decided and not (decided == "pending" and payment.pending):
            effect = self._answered(state, payment, decided)
            yield from self._transition(state, 2, effect, f"payment_service saves: {decided}", fair=True)
        if decided and decided != "pending":
            return
        for word in ("approved", "declined") if charging else ("refunded", "refused"):
            if word != "refused":
                yield self._decision(state, payment, key, word, fair=payment.in_progress, left=state.left)
            elif self.may(state, "refuse"):
                left = self.spent(state, "refuse")
                yield self._decision(state, payment, key, word, fair=False, left=left)
        if decided is None and self.may(state, "pending"):
            left = self.spent(state, "pending")
            yield self._decision(state, payment, key, "pending", fair=False, left=left)

    def _decision(
        self, state: State, payment: Payment, key: str, word: str, *, fair: bool, left: tuple[int, ...]
    ) -> Successor:
        provider = self.decided(state, key, word, payment.amount)
        label = (f"the provider decides on {key}: {word}", ())
        return Successor(fair, label, state._replace(provider=provider, left=left))

    def _late_answers(self, state: State) -> Iterator[Successor]:
        """A provider at its worst: it does not answer, answers again, or reverses its answer."""
        payment = self.payments.state(state.payment)
        if payment is None:
            return
        left = self.spent(state, "late")
        if payment.in_progress:
            effect = self.payments.run(state.payment, "claim", lambda: claim_step(payment), now=MIDNIGHT)
            yield from self._transition(state, 2, effect, "the provider is SILENT", fair=False, left=left)
        for key, word, _ in self.providers[state.provider]:
            charge = key == payment.charge_key
            status = "charging" if charge else "refunding"
            attempt = 0 if charge else int(key.rpartition("-")[2])
            if (payment.status, payment.refund_attempt) == (status, attempt):
                continue
            asked = payment.model_copy(update={"status": status, "refund_attempt": attempt})
            effect = self._answered(state, asked, word)
            text = f"payment_service saves AGAIN the answer on {key}: {word}"
            yield from self._transition(state, 2, effect, text, fair=False, left=left)
        if payment.status in ("declined", "void"):
            asked = payment.model_copy(update={"status": "charging", "refund_attempt": 0})
            provider = self.decided(state, payment.charge_key, "approved", payment.amount)
            changed = state._replace(provider=provider, left=left)
            text = "the provider approves LATE"
            effect = self._answered(state, asked, "approved")
            saved = list(self._transition(changed, 2, effect, text, fair=False))
            yield from saved or [Successor(False, (text, ()), changed)]

    def _stale_answers(self, state: State) -> Iterator[Successor]:
        """The answer `pending` is saved after the provider has decided."""
        payment = self.payments.state(state.payment)
        if payment is None or payment.pending:
            return
        for key, word, _ in self.providers[state.provider]:
            charge = key == payment.charge_key
            attempt = 0 if charge else int(key.rpartition("-")[2])
            asked = payment.model_copy(
                update={"status": "charging" if charge else "refunding", "refund_attempt": attempt}
            )
            if word != "pending":
                effect = self._answered(state, asked, "pending")
                text = f"payment_service saves TOO LATE that {key} is pending"
                yield from self._transition(state, 2, effect, text, fair=False)

    def _people_and_clocks(self, state: State) -> Iterator[Successor]:
        if self.may(state, "cancel"):
            effect = self.orders.execute(state.order, CANCEL)
            yield from self._fault(state, 0, effect, "cancel", "the customer CANCELS")
        if self.may(state, "deadline"):
            effect = self.orders.execute(state.order, MISS_DEADLINE, now=MIDNIGHT)
            yield from self._fault(state, 0, effect, "deadline", "the order's DEADLINE passes")
        if self.may(state, "expiry"):
            effect = self.reservations.execute(state.reservation, EXPIRE, levels=state.levels, now=MIDNIGHT)
            yield from self._fault(state, 1, effect, "expiry", "the hold EXPIRES")
        for name in ("same", "other", "release"):
            if self.may(state, name):
                event = self.published_manually[name]
                flight = self.flight(state.flight, self.copies([event]))
                after = state._replace(flight=flight, left=self.spent(state, name))
                yield Successor(False, (f"{{}} is PUBLISHED manually ({name})", (event,)), after)
        if self.may(state, "rival"):
            levels = self.levels.number(
                tuple(
                    (product, 0, reserved, allocated, sold + available)
                    for product, available, reserved, allocated, sold in self.levels[state.levels]
                )
            )
            after = state._replace(levels=levels, left=self.spent(state, "rival"))
            yield Successor(False, ("a RIVAL takes the available stock", ()), after)

    def _over_http(self, state: State) -> Iterator[Successor]:
        """What is done directly, as far as the services allow it."""
        if self.may(state, "charge"):
            for charge in self.charges:
                effect = self.payments.execute(state.payment, CHARGE_DIRECTLY, charge)
                text = f"{charge.amount} are CHARGED directly"
                yield from self._fault(state, 2, effect, "charge", text)
        if self.may(state, "hold"):
            for hold in self.holds:
                effect = self.reservations.execute(
                    state.reservation, HOLD_DIRECTLY, hold, levels=state.levels
                )
                text = f"{hold.items[0].product_id} is HELD directly, price: {hold.total_amount}"
                yield from self._fault(state, 1, effect, "hold", text)
        elif "hold" in self.index:
            for transition in (CONFIRM_DIRECTLY, RELEASE_DIRECTLY):
                effect = self.reservations.execute(state.reservation, transition, levels=state.levels)
                yield from self._transition(state, 1, effect, f"over HTTP: {transition.name}", fair=False)

    def _wipes(self, state: State) -> Iterator[Successor]:
        left = self.spent(state, "wipe")
        for lost in _subsets(state.flight):
            if lost:
                flight = state.flight
                for message in lost:
                    flight = without(flight, message)
                events = tuple(self.messages[message][0] for message in lost)
                text = f"the broker LOSES {_braces(events)}"
                yield Successor(False, (text, events), state._replace(flight=flight, left=left))

    def _nudges(self, state: State, *, fair: bool, left: tuple[int, ...]) -> Iterator[Successor]:
        """A service publishes its unanswered requests again.

        A refund that waits for a person is requested again and again; the order is at rest all the same.
        """
        order, payment = self.orders.state(state.order), self.payments.state(state.payment)
        refused = payment and payment.status == "refundFailed" and order and order.status == "refundPending"
        for place in (0, 1):
            events = self.services[place].unanswered(state.cell(place))
            if events:
                flight = self.flight(state.flight, self.copies(events))
                text = f"{SERVICES[place]} is NUDGED: {_braces(events)}"
                kinds = {type(self.events[event]) for event in events}
                moves_on = not (refused and kinds <= {PaymentRequested, PaymentRefundRequested})
                yield Successor(fair and moves_on, (text, events), state._replace(flight=flight, left=left))

    def _fault(self, state: State, place: int, effect: Effect, name: str, text: str) -> Iterator[Successor]:
        yield from self._transition(state, place, effect, text, fair=False, left=self.spent(state, name))

    def _transition(
        self,
        state: State,
        place: int,
        effect: Effect,
        text: str,
        *,
        fair: bool,
        left: tuple[int, ...] | None = None,
    ) -> Iterator[Successor]:
        """Make a transition, unless it changes nothing. Its events go through the relay, which may crash
        between publishing them and recording that."""
        if effect.cell == state.cell(place) and not effect.relayed:
            return
        after = self.after(state, place, effect, state.flight, effect.relayed, left)
        yield Successor(fair, (text, ()), after)
        if self.may(after, "crash"):
            for twice in _subsets(effect.relayed):
                if twice:
                    flight = self.flight(after.flight, self.copies(twice))
                    again = after._replace(flight=flight, left=self.spent(after, "crash"))
                    text_twice = f"{text}; the relay CRASHES after publishing {_braces(twice)}"
                    yield Successor(False, (text_twice, twice), again)

    def _answered(self, state: State, asked: Payment, word: str) -> Effect:
        return self.payments.run(
            state.payment,
            (word, asked.status, asked.refund_attempt),
            lambda: answered_step(asked, ANSWERS[word], RETRIES),
        )


def _subsets(things: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Return every subset of these, each once."""
    every = (chosen for size in range(len(things) + 1) for chosen in combinations(things, size))
    return iter(dict.fromkeys(every))


def _braces(events: Sequence[int]) -> str:
    return ", ".join("{}" for _ in events)
