"""Events as messages, and copies of messages."""

from datetime import UTC, datetime

import pytest
from pamqp import frame, header
from pamqp.commands import Basic

from events.catalogue import INVENTORY, Event, InventoryConfirmed
from events.codec import encode
from events.encoded import EncodedEvent
from operations.registry import TOPOLOGIES
from saga.messaging.message import (
    MAX_HEADER,
    REASON,
    TRACE,
    Delivery,
    Message,
    dead_lettered,
    for_quarantine,
    replayed,
    republished,
    to_message,
)
from saga.messaging.topology import home_exchange
from tests.support.builders import NOW, event, every_event

FRAME = 131_072
"""Bytes that all properties of a message have room in."""
SERVICE = TOPOLOGIES[INVENTORY]


def size(message: Message) -> int:
    """Return how many bytes the frame of the message's properties has."""
    properties = Basic.Properties(message_id=message.message_id, headers=dict(message.headers))
    return len(frame.marshal(header.ContentHeader(body_size=1, properties=properties), 1))


@pytest.mark.parametrize(
    "copy",
    [
        dead_lettered(
            Delivery(1, "e", "k", b"{", headers={"x-saga-reason": "r", TRACE: "t"}), SERVICE, "bad", NOW
        ),
        for_quarantine(Delivery(1, "e", "k", b"{", headers={"x-saga-reason": "r", TRACE: "t"}), SERVICE, NOW),
        republished(Delivery(1, "e", "k", b"{", headers={"x-saga-reason": "r", TRACE: "t"}), SERVICE),
        replayed(Delivery(1, "e", "k", b"{", headers={"x-saga-reason": "r", TRACE: "t"}), SERVICE),
    ],
    ids=["dead", "suspected", "republished", "replayed"],
)
def test_a_copy_keeps_what_is_ours_and_where_it_came_from(copy: Message) -> None:
    assert copy.headers[TRACE] == "t"
    assert copy.headers[REASON] in ("r", "bad")
    assert (copy.headers["x-saga-exchange"], copy.headers["x-saga-routing-key"]) == ("e", "k")


def test_a_copy_of_a_message_with_full_headers_fits_a_frame() -> None:
    many = {f"x-saga-{number:04}": "x" * MAX_HEADER for number in range(128)}
    delivery = Delivery(1, "order.events", "k", b"{", message_id="m" * 255, headers=many)
    assert FRAME - 2 * MAX_HEADER < size(Message("e", "k", b"", headers=many)) <= FRAME
    for copy in (
        dead_lettered(delivery, SERVICE, "not JSON", NOW),
        for_quarantine(delivery, SERVICE, NOW),
        republished(delivery, SERVICE),
        replayed(delivery, SERVICE),
    ):
        assert size(copy) < FRAME / 10


def test_a_time_that_amqp_does_not_know_stays_in_the_body() -> None:
    before = datetime(1969, 12, 31, 23, tzinfo=UTC)
    message = to_message(
        EncodedEvent.of(event(InventoryConfirmed).model_copy(update={"occurred_at": before}))
    )
    assert message.timestamp is None
    assert b"1969-12-31" in message.body
    assert to_message(EncodedEvent.of(event(InventoryConfirmed))).timestamp is not None


@pytest.mark.parametrize("one", every_event(), ids=lambda one: one.type)
def test_a_routing_key_is_the_type_and_the_correlation_id(one: Event) -> None:
    message = to_message(EncodedEvent.of(one))
    assert message.routing_key == f"{one.type}.c-1"
    assert message.exchange == home_exchange(one.type)
    assert message.body == encode(one)
