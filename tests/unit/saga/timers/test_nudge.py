"""The requests that an aggregate waits for, and what a nudge publishes again."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta
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
from events.encoded import EncodedEvent
from inventory_service.reservation import Reservation
from order_service.order import Order
from saga.errors import Unavailable
from saga.messaging.message import Message
from saga.reactions.unit_of_work import JournalEntry, LoadedAggregate, Patience
from saga.timers.nudge import BACKLOG_LIMIT, LONGEST_PAUSE, Nudge, unanswered
from tests.support.builders import NOW, event, order, reservation
from tests.support.clock import Clock


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
        f"cause-{number}": JournalEntry("r", NOW, state.status, (EncodedEvent.of(one).body,))
        for number, one in enumerate(published)
    }
    return LoadedAggregate(state.order_id, 3, state, records, updated_at=NOW, nudge_at=NOW)


def bodies(*events: Event) -> list[str]:
    return [EncodedEvent.of(one).body for one in events]


def test_every_unanswered_request_is_published_again() -> None:
    state = order(status="compensating", release="awaited", refund="awaited", payment="failed")
    asked = [event(InventoryReleaseRequested, "e-1"), event(PaymentRefundRequested, "e-2")]
    assert [
        one.body for one in unanswered(entry_of(state, event(PaymentRequested, "e-3"), *asked))
    ] == bodies(*asked)


def test_an_adopted_request_is_published_again() -> None:
    request = event(InventoryReservationRequested, "e-1")
    assert [one.body for one in unanswered(entry_of(order(status="pending", request=request)))] == bodies(
        request
    )
    assert unanswered(entry_of(order(status="confirmed", request=request))) == []


def test_an_unknown_aggregate_has_no_unanswered_requests() -> None:
    assert unanswered(LoadedAggregate("unknown")) == []


class Book:
    """A store of those who wait, and a broker."""

    def __init__(self, *keys: str) -> None:
        self.entries = {
            key: entry_of(
                order(order_id=key, status="paid"),
                event(InventoryConfirmationRequested, f"e-{key}", order_id=key),
            )
            for key in keys
        }
        self.published: list[str | None] = []
        self.unavailable = False
        self.behind = 0
        self.clock = Clock(NOW)
        self.nudge = Nudge("order_service", self, self, self.clock, Patience(nudge=MINUTE))

    async def backlog(self) -> int:
        return self.behind

    async def waking(self) -> list[str]:
        return list(self.entries)

    async def readable(self, keys: Collection[str]) -> list[LoadedAggregate[Any]]:
        return [self.entries[key] for key in keys]

    async def send(self, messages: Sequence[Message]) -> None:
        if self.unavailable:
            raise Unavailable("gone")
        self.published += [message.message_id for message in messages]

    async def check(self) -> None:
        raise AssertionError

    async def nudge_due(self) -> None:
        await self.nudge.nudge_due(list(self.entries.values()))


MINUTE = timedelta(minutes=1)


async def test_all_are_nudged_once_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saga.timers.nudge.BATCH", 2)
    book = Book("c", "a", "b")
    published = await book.nudge.nudge_all()
    assert [one.order_id for one in published] == ["a", "b", "c"]
    assert book.published == ["e-a", "e-b", "e-c"]


async def test_pauses_between_nudges_grow_up_to_a_limit() -> None:
    book = Book("a")
    entry = book.entries["a"]
    pauses = []
    for _ in range(8):
        await book.nudge_due()
        assert entry.nudge_at is not None
        pauses.append(entry.nudge_at - book.clock())
        book.clock.advance(pauses[-1].total_seconds())
    assert pauses == [*(2**doublings * MINUTE for doublings in range(1, 6)), *[LONGEST_PAUSE] * 3]
    assert (entry.nudges, len(book.published)) == (8, 8)


async def test_only_those_that_have_waited_are_nudged() -> None:
    book = Book("a", "b")
    book.entries["a"].nudge_at = NOW + timedelta(seconds=1)
    await book.nudge_due()
    assert book.published == ["e-b"]
    assert (book.entries["a"].nudges, book.entries["b"].nudges) == (0, 1)


async def test_an_unpublished_request_does_not_count_as_a_nudge() -> None:
    book = Book("a")
    book.unavailable = True
    with pytest.raises(Unavailable):
        await book.nudge_due()
    assert (book.entries["a"].nudges, book.entries["a"].nudge_at) == (0, NOW)


async def test_an_unreadable_aggregate_does_not_stop_the_others() -> None:
    book = Book("a", "b")
    journal = book.entries["a"].journal
    journal["cause-0"] = replace(journal["cause-0"], emitted=("{",))
    await book.nudge_due()
    assert book.published == ["e-b"]


async def test_nothing_is_nudged_while_a_reader_is_behind() -> None:
    book = Book("a")
    entry = book.entries["a"]
    book.behind = BACKLOG_LIMIT + 1
    await book.nudge_due()
    assert (book.published, entry.nudges, entry.nudge_at) == ([], 0, NOW + MINUTE)
    book.clock.advance(600)
    await book.nudge_due()
    assert (book.published, entry.nudge_at) == ([], NOW + 20 * MINUTE)
    book.behind = BACKLOG_LIMIT
    book.clock.advance(600)
    await book.nudge_due()
    assert (book.published, entry.nudges) == (["e-a"], 1)


async def test_an_operator_may_nudge_at_any_time() -> None:
    book = Book("a")
    book.behind = BACKLOG_LIMIT + 1
    await book.nudge.nudge_all()
    assert book.published == ["e-a"]
