"""The requests that an aggregate waits for, and what a nudge publishes again."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from events.catalogue import (
    Event,
    InventoryConfirmationRequested,
    InventoryReleaseRequested,
    InventoryReservationRequested,
    InventoryReserved,
    PaymentRefundRequested,
    PaymentRequested,
)
from events.codec import to_json
from inventory_service.reservation import Reservation
from order_service.order import Order
from saga.errors import Unavailable
from saga.messaging.message import Message
from saga.reactions.unit_of_work import JournalEntry, LoadedAggregate
from saga.timers.nudge import BACKLOG_LIMIT, LONGEST_PAUSE, Nudge, pause, unanswered
from tests.support.builders import NOW, event, order, reservation


@pytest.mark.parametrize(
    ("fields", "unanswered_requests"),
    [
        ({"status": "pending"}, [InventoryReservationRequested]),
        ({"status": "reserved", "payment": "awaited"}, [PaymentRequested]),
        ({"status": "paid", "payment": "completed"}, [InventoryConfirmationRequested]),
        ({"status": "compensating", "release": "awaited"}, [InventoryReleaseRequested]),
        (
            {"status": "compensating", "payment": "awaited", "release": "awaited", "refund": "awaited"},
            [PaymentRequested, InventoryReleaseRequested, PaymentRefundRequested],
        ),
        ({"status": "compensating", "release": "settled", "refund": "awaited"}, [PaymentRefundRequested]),
        ({"status": "refundPending", "refund": "awaited"}, [PaymentRefundRequested]),
        ({"status": "confirmed", "payment": "completed"}, []),
        ({"status": "failed", "payment": "failed"}, []),
        ({"status": "cancelled"}, []),
    ],
)
def test_an_order_waits_for_answers_to_its_requests(
    fields: dict[str, Any], unanswered_requests: list[type[Event]]
) -> None:
    assert list(order(**fields).unanswered_requests) == unanswered_requests


@pytest.mark.parametrize(
    ("fields", "unanswered_requests"),
    [
        ({"status": "held"}, [InventoryReserved]),
        ({"status": "held", "saga": False}, []),
        ({"status": "allocated"}, []),
        ({"status": "released"}, []),
        ({"status": "expired"}, []),
        ({"status": "rejected"}, []),
    ],
)
def test_a_hold_of_a_saga_waits_for_a_decision(
    fields: dict[str, Any], unanswered_requests: list[type[Event]]
) -> None:
    assert list(reservation(**fields).unanswered_requests) == unanswered_requests


def entry_of(state: Order | Reservation, *published: Event) -> LoadedAggregate[Any]:
    records = {
        f"cause-{number}": JournalEntry("r", NOW, [to_json(one)]) for number, one in enumerate(published)
    }
    return LoadedAggregate(state.order_id, 3, state, records)


def test_every_unanswered_request_is_published_again() -> None:
    state = order(status="compensating", release="awaited", refund="awaited", payment="failed")
    asked = [event(InventoryReleaseRequested, "e-1"), event(PaymentRefundRequested, "e-2")]
    assert unanswered(entry_of(state, event(PaymentRequested, "e-3"), *asked)) == asked


def test_an_adopted_request_is_published_again() -> None:
    request = event(InventoryReservationRequested, "e-1")
    assert unanswered(entry_of(order(status="pending", request=request))) == [request]
    assert unanswered(entry_of(order(status="confirmed", request=request))) == []


def test_an_unknown_aggregate_has_no_unanswered_requests() -> None:
    assert unanswered(LoadedAggregate("unknown")) == []


def test_pauses_between_nudges_grow_up_to_a_limit() -> None:
    minute = timedelta(minutes=1)
    assert [pause(minute, nudges) for nudges in (0, 1, 2, 5)] == [minute, 2 * minute, 4 * minute, 32 * minute]
    assert pause(minute, 10_000) == LONGEST_PAUSE
    assert pause(3 * LONGEST_PAUSE, 0) == 3 * LONGEST_PAUSE


class Book:
    """A store of those who wait, and a broker."""

    def __init__(self, *entries: LoadedAggregate[Any]) -> None:
        self.entries = list(entries)
        self.happened: list[str] = []
        self.away = False
        self.behind = 0

    async def backlog(self) -> int:
        return self.behind

    async def waiting(
        self, before: datetime, limit: int, after: str | None = None
    ) -> list[LoadedAggregate[Any]]:
        return [entry for entry in self.entries if entry.key > (after or "")][: min(limit, 2)]

    async def mark_nudged(self, entries: Collection[LoadedAggregate[Any]]) -> None:
        self.happened += [f"nudged {entry.key}" for entry in entries]

    async def send(self, messages: Sequence[Message]) -> None:
        if self.away:
            raise Unavailable("away")
        self.happened += [f"{message.type} {message.message_id}" for message in messages]

    async def check(self) -> None:
        raise AssertionError


def book(*keys: str) -> Book:
    return Book(
        *(
            entry_of(
                order(order_id=key, status="paid"),
                event(InventoryConfirmationRequested, f"e-{key}", order_id=key),
            )
            for key in keys
        )
    )


async def test_all_are_nudged_once_in_pages() -> None:
    waiting = book("a", "b", "c")
    published = await Nudge("order_service", waiting, waiting, lambda: NOW).nudge_all()
    assert [one.order_id for one in published] == ["a", "b", "c"]
    assert [what for what in waiting.happened if what.startswith("nudged")] == [
        "nudged a",
        "nudged b",
        "nudged c",
    ]


async def test_an_unpublished_request_does_not_count_as_a_nudge() -> None:
    waiting = book("a")
    waiting.away = True
    with pytest.raises(Unavailable):
        await Nudge("order_service", waiting, waiting, lambda: NOW).sweep()
    assert waiting.happened == []


async def test_an_unreadable_aggregate_does_not_stop_the_others() -> None:
    waiting = book("a", "b")
    for record in waiting.entries[0].journal.values():
        record.emitted[0]["orderId"] = "no id at all"
    await Nudge("order_service", waiting, waiting, lambda: NOW).sweep()
    assert waiting.happened == ["InventoryConfirmationRequested e-b", "nudged a", "nudged b"]


async def test_nothing_is_nudged_while_a_reader_is_behind() -> None:
    waiting = book("a")
    nudge = Nudge("order_service", waiting, waiting, lambda: NOW)
    waiting.behind = BACKLOG_LIMIT + 1
    await nudge.sweep()
    assert waiting.happened == []
    waiting.behind = BACKLOG_LIMIT
    await nudge.sweep()
    assert waiting.happened == ["InventoryConfirmationRequested e-a", "nudged a"]


async def test_an_operator_may_nudge_at_any_time() -> None:
    waiting = book("a")
    waiting.behind = BACKLOG_LIMIT + 1
    await Nudge("order_service", waiting, waiting, lambda: NOW).nudge_all()
    assert "nudged a" in waiting.happened
