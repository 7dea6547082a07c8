"""The frames written and read here are those of the client library, byte for byte in what they mean."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic
from pamqp.frame import marshal
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from saga.messaging.message import Message
from saga.rabbitmq import frames, tolerant_decoding
from tests.support.amqp import FRAME_MAX, NUMBER, frames_in

tolerant_decoding.install()

START = datetime(2026, 3, 1, tzinfo=UTC)
short = st.text(max_size=20)
names = st.text("abc._-", max_size=20)
optional = st.none() | short.filter(bool)
moments = st.none() | st.integers(0, 10**9).map(lambda seconds: START + timedelta(seconds=seconds))
headers = st.dictionaries(
    st.text(min_size=1, max_size=20),
    st.integers(-(2**40), 2**40) | short | st.booleans(),
    max_size=3,
)
messages = st.builds(
    Message,
    exchange=names,
    routing_key=short,
    body=st.integers(0, 2 * FRAME_MAX).map(bytes),
    message_id=optional,
    correlation_id=optional,
    type=optional,
    app_id=optional,
    timestamp=moments,
    headers=headers,
    mandatory=st.booleans(),
)


@given(st.lists(messages, max_size=3))
def test_published_messages_are_read_by_the_library(published: list[Message]) -> None:
    found = frames_in(frames.publish(published, "order_service", NUMBER, FRAME_MAX))
    for message in published:
        method, header = found.pop(0), found.pop(0)
        assert isinstance(method, Basic.Publish)
        assert (method.exchange, method.routing_key, method.mandatory, method.immediate) == (
            message.exchange,
            message.routing_key,
            message.mandatory,
            False,
        )
        assert header.properties == Basic.Properties(
            content_type="application/json",
            headers=dict(message.headers) or None,
            delivery_mode=2,
            correlation_id=message.correlation_id,
            message_id=message.message_id,
            timestamp=message.timestamp,
            message_type=message.type,
            user_id="order_service",
            app_id=message.app_id,
        )
        body = b""
        while len(body) < header.body_size:
            part = found.pop(0)
            assert len(part.value) <= FRAME_MAX - 8
            body += part.value
        assert body == message.body
    assert not found


@pytest.mark.parametrize("field", ["routing_key", "message_id", "correlation_id", "type", "app_id"])
def test_what_amqp_has_no_room_for_is_refused(field: str) -> None:
    fields: dict[str, Any] = {"exchange": "order.events", "routing_key": "key", "body": b"{}"}
    frames.publish([Message(**{**fields, field: "é" * 127})], "guest", NUMBER, FRAME_MAX)
    with pytest.raises(ValueError, match="longer than 255 bytes"):
        frames.publish([Message(**{**fields, field: "é" * 128})], "guest", NUMBER, FRAME_MAX)


properties = st.builds(
    Basic.Properties,
    content_type=optional,
    content_encoding=optional,
    headers=st.none() | headers,
    delivery_mode=st.none() | st.sampled_from([1, 2]),
    priority=st.none() | st.integers(1, 9),
    correlation_id=optional,
    reply_to=optional,
    expiration=optional,
    message_id=optional,
    timestamp=moments,
    message_type=optional,
    user_id=optional,
    app_id=optional,
)


@given(st.integers(0, 2**62), names, short, properties, st.binary(max_size=50))
def test_a_delivery_is_read_as_the_library_wrote_it(
    tag: int, exchange: str, key: str, given_properties: Basic.Properties, body: bytes
) -> None:
    method = marshal(Basic.Deliver("consumer", tag, True, exchange, key), NUMBER)
    header = marshal(ContentHeader(body_size=len(body), properties=given_properties), NUMBER)
    assert frames.read_size(header, 7) == len(body)
    found = frames.delivery(*frames.read_deliver(method, 11), frames.read_properties(header, 7), body)
    assert (found.tag, found.exchange, found.routing_key, found.body) == (tag, exchange, key, body)
    assert found.headers == (given_properties.headers or {})
    for ours, theirs in {
        "message_id": "message_id",
        "correlation_id": "correlation_id",
        "type": "message_type",
        "app_id": "app_id",
        "timestamp": "timestamp",
        "user_id": "user_id",
    }.items():
        assert getattr(found, ours) == getattr(given_properties, theirs)


@pytest.mark.parametrize(("count", "redeliveries"), [(3, 3), ("3", 0), (None, 0)])
def test_redeliveries_are_the_brokers_count(count: object, redeliveries: int) -> None:
    found = frames.delivery(1, "exchange", "key", {"headers": {"x-delivery-count": count}}, b"")
    assert found.redeliveries == redeliveries


def test_the_message_of_undecodable_properties_is_read() -> None:
    text = b"\x02\xff\xfe"
    properties = text + b"\0\0\0\x03\x02\xffI" + text + text + (2**63).to_bytes(8, "big") + text
    header = b"\0\x3c\0\0" + bytes(8) + b"\xa4\xe0" + properties
    assert frames.read_properties(header, 0) == {
        "headers": {},
        "correlation_id": "??",
        "message_id": "??",
        "timestamp": tolerant_decoding.LATEST,
        "type": "??",
    }


def test_a_returned_message_is_read_by_its_route() -> None:
    data = marshal(Basic.Return(312, "NO_ROUTE", "order.events", "OrderCreated.c-1"), NUMBER)
    assert frames.read_return(data, 11) == ("order.events", "OrderCreated.c-1")


@given(st.none() | st.integers(1, 2**62), st.lists(st.integers(1, 2**62)))
def test_acknowledgements_are_read_by_the_library(up_to: int | None, single: list[int]) -> None:
    found = frames_in(frames.acks(NUMBER, up_to, single))
    assert all(isinstance(frame, Basic.Ack) for frame in found)
    wanted = [(up_to, True)] if up_to else []
    assert [(frame.delivery_tag, frame.multiple) for frame in found] == [
        *wanted,
        *((tag, False) for tag in single),
    ]


@pytest.mark.parametrize("requeue", [True, False])
def test_rejections_are_read_by_the_library(requeue: bool) -> None:
    found = frames_in(frames.nacks(NUMBER, [3, 5], requeue=requeue))
    assert all(isinstance(frame, Basic.Nack) for frame in found)
    assert [(frame.delivery_tag, frame.multiple, frame.requeue) for frame in found] == [
        (3, False, requeue),
        (5, False, requeue),
    ]


@pytest.mark.parametrize("multiple", [True, False])
def test_confirms_are_read_as_the_library_wrote_them(multiple: bool) -> None:
    assert frames.read_confirm(marshal(Basic.Ack(9, multiple), NUMBER), 11) == (9, multiple)
    assert frames.read_confirm(marshal(Basic.Nack(9, multiple, False), NUMBER), 11) == (9, multiple)


def test_a_heartbeat_is_what_the_library_takes_for_one() -> None:
    assert marshal(Heartbeat(), 0) == frames.IDLE
