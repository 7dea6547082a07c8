"""Every move that may come next in the world of one order."""

from collections.abc import Iterator, Sequence
from itertools import combinations

from events.catalogue import SERVICES, PaymentRefundRequested, PaymentRequested
from inventory_service.reactions import CONFIRM_DIRECTLY, EXPIRE, HOLD_DIRECTLY, RELEASE_DIRECTLY
from order_service.reactions import CANCEL, MISS_DEADLINE, PLACE
from payment_service.payment import Payment
from payment_service.providers.base import Answer, Approved, Declined, Pending, Refunded, RefundRefused
from payment_service.reactions import CHARGE_DIRECTLY, REFUND_DIRECTLY
from payment_service.steps import answered_step, unanswered_step
from verification.model_checker.model import RETRIES, Ground, Move, State, without
from verification.model_checker.services import MIDNIGHT, Effect

ANSWERS: dict[str, Answer] = {
    "approved": Approved("ch-1"),
    "declined": Declined("declined"),
    "refunded": Refunded("re-1"),
    "refused": RefundRefused("refused"),
    "pending": Pending("later-1"),
}


class SingleOrderModel(Ground):
    """All that can happen to one order, with these faults, each as often as it is named."""

    def moves(self, state: State) -> Iterator[Move]:
        """Return everything that may happen next."""
        yield from self._deliveries(state)
        yield from self._placing(state)
        yield from self._provider(state)
        yield from self._people_and_clocks(state)
        yield from self._over_http(state)
        if self.may(state, "late"):
            yield from self._late_answers(state)
        if self.struck(state, "pending"):
            yield from self._stale_answers(state)
        if self.may(state, "wipe"):
            yield from self._wipes(state)
        if self.struck(state, "wipe") and not state.flight:
            yield from self._nudges(state, fair=True, left=state.left)
        if self.may(state, "nudge"):
            yield from self._nudges(state, fair=False, left=self.spent(state, "nudge"))

    def _deliveries(self, state: State) -> Iterator[Move]:
        for message in dict.fromkeys(state.flight):
            event, place = self.messages[message]
            effect = self.services[place].handle(state.cell(place), event, state.levels if place == 1 else 0)
            rest = without(state.flight, message)
            if not effect.waits:
                published = (*effect.emitted, *effect.relayed)
                after = self.after(state, place, effect, rest, published)
                yield Move(True, (f"{SERVICES[place]} handles {{}}", (event,)), after)
                if self.may(state, "crash"):
                    yield from self._crashes(state, place, effect, event)
            if self.may(state, "duplicate"):
                twice = self.flight(state.flight, (message,))
                yield Move(
                    False,
                    (f"DUPLICATE of {{}} for {SERVICES[place]}", (event,)),
                    state._replace(flight=twice, left=self.spent(state, "duplicate")),
                )

    def _crashes(self, state: State, place: int, effect: Effect, event: int) -> Iterator[Move]:
        """The service dies after saving, with any of its events published; the message comes again."""
        left = self.spent(state, "crash")
        for published in _subsets(effect.emitted):
            done = f", and has published {_braces(published)}" if published else ""
            text = f"{SERVICES[place]} DIES before acknowledging {{}}; it has saved it{done}"
            after = self.after(state, place, effect, state.flight, (*published, *effect.relayed), left)
            yield Move(False, (text, (event, *published)), after)

    def _placing(self, state: State) -> Iterator[Move]:
        if "adopt" not in self.index and self.orders.state(state.order) is None:
            effect = self.orders.execute(state.order, PLACE, self.wanted)
            yield from self._transition(state, 0, effect, "the customer places the order", fair=True)

    def _provider(self, state: State) -> Iterator[Move]:
        payment = self.payments.state(state.payment)
        if payment is None:
            return
        if payment.status == "refundFailed" or "charge" in self.index:
            effect = self.payments.execute(
                state.payment, REFUND_DIRECTLY, deduplicate_by=f"-{payment.refund_attempt}"
            )
            yield from self._transition(state, 2, effect, "somebody has the payment REFUNDED", fair=False)
        if payment.in_progress or payment.status == "refundFailed":
            yield from self._decisions(state, payment)

    def _decisions(self, state: State, payment: Payment) -> Iterator[Move]:
        """The provider decides on what it is asked, and the payment service hears of it.

        A refund that it has refused it may refuse for ever.
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
    ) -> Move:
        provider = self.decided(state, key, word, payment.amount)
        label = (f"the provider decides on {key}: {word}", ())
        return Move(fair, label, state._replace(provider=provider, left=left))

    def _late_answers(self, state: State) -> Iterator[Move]:
        """What a provider does at its worst: nothing, the same again, or the opposite."""
        payment = self.payments.state(state.payment)
        if payment is None:
            return
        left = self.spent(state, "late")
        if payment.in_progress:
            effect = self.payments.run(state.payment, "unanswered", lambda: unanswered_step(payment))
            yield from self._transition(state, 2, effect, "the provider is SILENT", fair=False, left=left)
        for key, word, _ in self.providers[state.provider]:
            charge = key == payment.charge_key
            status = "charging" if charge else "refunding"
            attempt = 0 if charge else int(key.rpartition("-")[2])
            if (payment.status, payment.refund_attempt) == (status, attempt):
                continue
            asked = payment.model_copy(update={"status": status, "refund_attempt": attempt})
            effect = self._answered(state, asked, word)
            text = f"payment_service saves AGAIN what the provider said of {key}: {word}"
            yield from self._transition(state, 2, effect, text, fair=False, left=left)
        if payment.status in ("declined", "void"):
            asked = payment.model_copy(update={"status": "charging", "refund_attempt": 0})
            provider = self.decided(state, payment.charge_key, "approved", payment.amount)
            changed = state._replace(provider=provider, left=left)
            text = "the provider approves LATE"
            effect = self._answered(state, asked, "approved")
            saved = list(self._transition(changed, 2, effect, text, fair=False))
            yield from saved or [Move(False, (text, ()), changed)]

    def _stale_answers(self, state: State) -> Iterator[Move]:
        """What was said at first of something pending is saved when it has long been decided."""
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

    def _people_and_clocks(self, state: State) -> Iterator[Move]:
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
                yield Move(False, (f"somebody PUBLISHES {{}} by hand ({name})", (event,)), after)
        if self.may(state, "rival"):
            levels = self.levels.number(
                tuple(
                    (product, 0, reserved, allocated, sold + available)
                    for product, available, reserved, allocated, sold in self.levels[state.levels]
                )
            )
            after = state._replace(levels=levels, left=self.spent(state, "rival"))
            yield Move(False, ("a RIVAL takes the stock that is free", ()), after)

    def _over_http(self, state: State) -> Iterator[Move]:
        """What somebody does past the saga, as far as the services let him."""
        if self.may(state, "charge"):
            for charge in self.charges:
                effect = self.payments.execute(state.payment, CHARGE_DIRECTLY, charge)
                text = f"somebody CHARGES {charge.amount} over HTTP"
                yield from self._fault(state, 2, effect, "charge", text)
        if self.may(state, "hold"):
            for hold in self.holds:
                effect = self.reservations.execute(
                    state.reservation, HOLD_DIRECTLY, hold, levels=state.levels
                )
                text = f"somebody HOLDS {hold.items[0].product_id} over HTTP, price: {hold.total_amount}"
                yield from self._fault(state, 1, effect, "hold", text)
        elif "hold" in self.index:
            for transition in (CONFIRM_DIRECTLY, RELEASE_DIRECTLY):
                effect = self.reservations.execute(state.reservation, transition, levels=state.levels)
                yield from self._transition(state, 1, effect, f"over HTTP: {transition.name}", fair=False)

    def _wipes(self, state: State) -> Iterator[Move]:
        left = self.spent(state, "wipe")
        for lost in _subsets(state.flight):
            if lost:
                flight = state.flight
                for message in lost:
                    flight = without(flight, message)
                events = tuple(self.messages[message][0] for message in lost)
                text = f"the broker LOSES {_braces(events)}"
                yield Move(False, (text, events), state._replace(flight=flight, left=left))

    def _nudges(self, state: State, *, fair: bool, left: tuple[int, ...]) -> Iterator[Move]:
        """A service publishes again what it is owed an answer to.

        A refund that waits for a person is asked for again and again; the order rests all the same.
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
                yield Move(fair and moves_on, (text, events), state._replace(flight=flight, left=left))

    def _fault(self, state: State, place: int, effect: Effect, name: str, text: str) -> Iterator[Move]:
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
    ) -> Iterator[Move]:
        """Make a transition, unless it changes nothing; its events go through the relay, which may die
        between publishing them and writing that down."""
        if effect.cell == state.cell(place) and not effect.relayed:
            return
        after = self.after(state, place, effect, state.flight, effect.relayed, left)
        yield Move(fair, (text, ()), after)
        if self.may(after, "crash"):
            for twice in _subsets(effect.relayed):
                if twice:
                    flight = self.flight(after.flight, self.copies(twice))
                    again = after._replace(flight=flight, left=self.spent(after, "crash"))
                    text_twice = f"{text}; the relay DIES after publishing {_braces(twice)}"
                    yield Move(False, (text_twice, twice), again)

    def _answered(self, state: State, asked: Payment, word: str) -> Effect:
        return self.payments.run(
            state.payment,
            (word, asked.status, asked.refund_attempt),
            lambda: answered_step(asked, ANSWERS[word], RETRIES),
        )


def _subsets(things: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Return all choices of some of these, each once."""
    every = (chosen for size in range(len(things) + 1) for chosen in combinations(things, size))
    return iter(dict.fromkeys(every))


def _braces(events: Sequence[int]) -> str:
    return ", ".join("{}" for _ in events)
