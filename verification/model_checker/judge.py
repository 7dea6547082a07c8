"""Asks the invariants of the states of one order: some in every state, all of them at rest.

Each state becomes the audit's case and books. Added is what only this model shows: the provider's decisions,
the last events that were published, and the messages in flight.
"""

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from verification.invariants import order, world
from verification.invariants.case import Case
from verification.invariants.names import Finding, Invariant, Timing
from verification.invariants.stock import StockBook, StockLevel
from verification.model_checker.model import OWNED, ModelBase, State
from verification.model_checker.services import NOON, ORDER_ID, WAREHOUSE

FLIGHT_LIMIT = 16
"""More messages in flight than any finite course of one order has."""
AT_REST = Timing(NOON, at_rest=True)


class Judge:
    """Judges the states of one model, and remembers what it found for each part of a state."""

    def __init__(self, model: ModelBase) -> None:
        self._model = model
        self._known: dict[tuple[object, ...], Finding | None] = {}
        self._cases: dict[tuple[int, int, int], Case] = {}

    def wrong(self, state: State) -> Finding | None:
        """Return what is wrong with a state in which something may still move."""
        if len(state.flight) > FLIGHT_LIMIT:
            text = f"multiplies its messages: more than {FLIGHT_LIMIT} are in flight"
            return Finding(Invariant.COMES_TO_REST, ORDER_ID, text)
        return self._first(state[:6], lambda: self._moving(state))

    def wrong_at_rest(self, state: State) -> Finding | None:
        """Return what is wrong with a state in which nothing moves any more."""
        if state.flight and not self._lost_with_its_request(state):
            text = f"never handles {', '.join(self._model.in_flight(state))}"
            return Finding(Invariant.COMES_TO_REST, ORDER_ID, text)
        return self._first((*state[:6], state.left), lambda: self._resting(state))

    def _first(self, key: tuple[object, ...], check: Callable[[], Iterable[Finding]]) -> Finding | None:
        if key not in self._known:
            self._known[key] = next(iter(check()), None)
        return self._known[key]

    def _moving(self, state: State) -> Iterator[Finding]:
        parts: tuple[tuple[tuple[object, ...], Callable[[], Iterable[Finding]]], ...] = (
            (("stock", state.reservation, state.levels), lambda: self._stock(state)),
            (("provider", state.provider), lambda: self._charges(state)),
            (("published", state.order, state.ended), lambda: self._published(state)),
            (("case", *state[:3]), lambda: order.findings(self._case(state), AT_REST, order.ALWAYS)),
        )
        yield from (finding for part in parts if (finding := self._first(*part)))

    def _resting(self, state: State) -> Iterator[Finding]:
        case = self._case(state)
        yield from order.findings(case, AT_REST)
        if case.order is None and not self._model.has_struck(state, "wipe"):
            yield from order.lost_orders([ORDER_ID])
        yield from world.provider_agrees(case, self._kept_by_provider(state))
        unasked = self._model.has_struck(state, "late") or self._model.has_struck(state, "charge")
        yield from world.refund_is_awaited(case, charged_unasked=unasked)
        if case.order and not self._lost_with_its_service(state):
            recorded = order.last_events(case.order.emitted)
            yield from world.events_are_published(case, recorded, self._published_ids(state))

    def _case(self, state: State) -> Case:
        cells = state.order, state.reservation, state.payment
        if cells not in self._cases:
            snapshots = (
                service.snapshot(cell) for service, cell in zip(self._model.services, cells, strict=True)
            )
            self._cases[cells] = Case(ORDER_ID, *snapshots)
        return self._cases[cells]

    def _stock(self, state: State) -> Iterator[Finding]:
        book = StockBook()
        if reservation := self._model.reservations.state(state.reservation):
            book.add(reservation)
        levels = {
            (WAREHOUSE, product): StockLevel(available, reserved, allocated, owned[1] - sold, 1)
            for owned, (product, available, reserved, allocated, sold) in zip(
                OWNED, self._model.levels[state.levels], strict=True
            )
        }
        yield from book.findings(levels, {*levels, *book.keys})

    def _charges(self, state: State) -> Iterator[Finding]:
        decisions = self._model.providers[state.provider]
        charges = [key for key, word, _ in decisions if word == "approved"]
        if len(charges) > 1:
            text = f"is charged {len(charges)} times by the provider: {', '.join(charges)}"
            yield Finding(Invariant.ONE_CHARGE, ORDER_ID, text)
        if (keeps := self._kept_by_provider(state)) < 0:
            yield Finding(Invariant.ONE_CHARGE, ORDER_ID, f"has {-keeps} refunded that were never charged")

    def _published(self, state: State) -> Iterator[Finding]:
        yield from world.recorded_before_published(self._case(state), self._published_ids(state))

    def _published_ids(self, state: State) -> set[str]:
        return {str(self._model.events[event].event_id) for event in self._model.ends[state.ended]}

    def _kept_by_provider(self, state: State) -> Decimal:
        signs = {"approved": 1, "refunded": -1}
        decisions = self._model.providers[state.provider]
        return sum((signs.get(word, 0) * amount for _, word, amount in decisions), Decimal(0))

    def _lost_with_its_request(self, state: State) -> bool:
        """Return whether the broker lost the request before the order service saw it.

        If the hold ends before the first nudge, the messages about that order end as dead letters, and its
        publisher has to publish the request again.
        """
        return self._model.orders.state(state.order) is None and self._model.has_struck(state, "wipe")

    def _lost_with_its_service(self, state: State) -> bool:
        """Return whether nothing is left that would have the last event published.

        A service crashed before it could publish it, and the broker lost the message that would have been
        redelivered. Only both together are more than a nudge repairs.
        """
        has_struck = all(self._model.has_struck(state, fault) for fault in ("crash", "wipe"))
        return has_struck and not self._model.ends[state.ended]
