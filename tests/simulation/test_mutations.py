"""The simulation can fail: each of these mistakes is caught within a few hundred schedules."""

from collections.abc import Callable
from datetime import datetime
from itertools import count
from typing import Any

import pytest

import inventory_service.reactions as inventory
import payment_service.reactions as payments
import reactor.engine
from events.catalogue import (
    Event,
    InventoryReleased,
    InventoryReleaseRequested,
    PaymentRefunded,
    PaymentRefundRequested,
)
from events.codec import from_json
from inventory_service.reservation import Reservation
from messaging.message import Delivery
from payment_service.payment import Payment
from reactor.relay import Relay
from reactor.step import Entry, Reaction, Record, Rule
from simulation.broker import MemoryInbox
from simulation.stock import MemoryInventory
from simulation.store import MemoryAggregates, Row
from simulation.world import play

SCHEDULES = 400

Patch = pytest.MonkeyPatch


def acknowledge_at_once(patch: Patch) -> None:
    take = MemoryInbox.take

    async def taken(self: MemoryInbox, limit: int) -> list[Delivery]:
        deliveries = await take(self, limit)
        for delivery in deliveries:
            self._settle(delivery)
        return deliveries

    patch.setattr(MemoryInbox, "take", taken)


def guard_no_version(patch: Patch) -> None:
    patch.setattr(MemoryAggregates, "is_stale", lambda self, entry: False)


def guard_no_stock(patch: Patch) -> None:
    patch.setattr(MemoryInventory, "_fits", lambda self, place, total: True)


def repeat_under_other_ids(patch: Patch) -> None:
    numbers = count()

    def repeated(record: Record | None) -> list[Event]:
        known = [from_json(fields) for fields in record.emitted] if record else []
        return [one.model_copy(update={"event_id": f"drawn-{next(numbers)}"}) for one in known]

    patch.setattr(reactor.engine, "_events", repeated)


def forget_what_was_handled(patch: Patch) -> None:
    entry = MemoryAggregates.entry

    def forgetful(self: MemoryAggregates[Any], key: str, row: Row) -> Entry[Any]:
        found: Entry[Any] = entry(self, key, row)
        found.journal.clear()
        return found

    patch.setattr(MemoryAggregates, "entry", forgetful)


def leave_no_tombstone(patch: Patch) -> None:
    def release(
        reservation: Reservation | None, event: InventoryReleaseRequested, world: inventory.World
    ) -> Reaction[Reservation]:
        return inventory.release(reservation, event, world) if reservation else Reaction(None)

    table: dict[Any, Rule] = inventory.REACTIONS
    patch.setitem(table, InventoryReleaseRequested, Rule(release, InventoryReleased))


def forget_the_refund(patch: Patch) -> None:
    def refund(payment: Payment | None, event: PaymentRefundRequested, now: datetime) -> Reaction[Payment]:
        reaction = payments.refund(payment, event, now)
        if payment is None or reaction.state is None or reaction.state.status != "refunding":
            return reaction
        said = PaymentRefunded(order_id=event.order_id, amount=payment.amount, currency=payment.currency)
        return Reaction(reaction.state.model_copy(update={"status": "refunded"}), [said])

    table: dict[Any, Rule] = payments.REACTIONS
    patch.setitem(table, PaymentRefundRequested, Rule(refund, PaymentRefunded))


def charge_under_a_new_key(patch: Patch) -> None:
    numbers = count()
    patch.setattr(Payment, "charge_key", property(lambda self: f"order-{self.order_id}-{next(numbers)}"))


def leave_what_is_left_over(patch: Patch) -> None:
    async def sweep(self: Relay) -> None:
        return None

    patch.setattr(Relay, "sweep", sweep)


@pytest.mark.parametrize(
    "mistake",
    [
        acknowledge_at_once,
        guard_no_version,
        guard_no_stock,
        repeat_under_other_ids,
        forget_what_was_handled,
        leave_no_tombstone,
        forget_the_refund,
        charge_under_a_new_key,
        leave_what_is_left_over,
    ],
)
def test_a_mistake_is_caught(mistake: Callable[[Patch], None], monkeypatch: Patch) -> None:
    mistake(monkeypatch)
    caught = next((seed for seed in range(1, SCHEDULES + 1) if play(seed).violations), None)
    assert caught is not None, f"not caught in {SCHEDULES} schedules"
