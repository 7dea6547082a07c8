"""The AMQP frames of the hot path, as bytes: publish, return, confirm, deliver, acknowledge.

A batch is written as one piece, and read from what the socket gave at once. Everything else that a connection
says is the client library's. Layout: AMQP 0-9-1, sections 2.3.5 (frames) and 4.2 (their grammar).
"""

from collections.abc import Sequence
from struct import Struct
from typing import Any

from pamqp import encode

from saga.messaging.message import Delivery, Message
from saga.rabbitmq.tolerant_decoding import read_table, read_text, read_time

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
"""The kinds of frames."""
END = b"\xce"
"""The last octet of every frame."""
OVERHEAD = 8
"""Octets of a frame besides its payload."""
PREFIX = Struct(">BHI")
"""How every frame begins: kind, channel, octets of payload."""
IDLE = PREFIX.pack(HEARTBEAT, 0, 0) + END
"""A heartbeat."""
MAX_TEXT = 255
"""Octets of a routing key, an id, or another short string."""


def _method(kind: int, number: int) -> int:
    return kind << 16 | number


BLOCKED, UNBLOCKED = _method(10, 60), _method(10, 61)
CHANNEL_CLOSE = _method(20, 40)
PUBLISH, RETURN, DELIVER = _method(60, 40), _method(60, 50), _method(60, 60)
ACK, NACK = _method(60, 80), _method(60, 120)

UINT16, UINT32, UINT64 = Struct(">H"), Struct(">I"), Struct(">Q")
_SETTLE = Struct(">BHIIQBc")
_CONTENT = Struct(">BHIHHQH")
_BASIC = 60
_MULTIPLE, _REQUEUE = 1, 2

_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS, _DELIVERY_MODE, _PRIORITY = 0x8000, 0x4000, 0x2000, 0x1000, 0x0800
_CORRELATION_ID, _REPLY_TO, _EXPIRATION, _MESSAGE_ID, _TIMESTAMP = 0x0400, 0x0200, 0x0100, 0x0080, 0x0040
_TYPE, _USER_ID, _APP_ID, _CLUSTER_ID = 0x0020, 0x0010, 0x0008, 0x0004
_JSON = b"\x10application/json"
_PERSISTENT = b"\x02"


def publish(messages: Sequence[Message], user: str, channel: int, frame_max: int) -> bytes:
    """Return the frames that publish messages, persistent, as this user.

    Raises:
        ValueError: a routing key or a property is longer than AMQP allows.
    """
    frames: list[bytes] = []
    room = frame_max - OVERHEAD
    sender = _text(user)
    for message in messages:
        route = _text(message.exchange) + _text(message.routing_key)
        flags, properties = _properties(message, sender)
        body = message.body
        frames += (
            PREFIX.pack(METHOD, channel, 7 + len(route)),
            UINT32.pack(PUBLISH),
            b"\0\0",
            route,
            b"\1" if message.mandatory else b"\0",
            END,
            _CONTENT.pack(HEADER, channel, 14 + len(properties), _BASIC, 0, len(body), flags),
            properties,
            END,
        )
        for start in range(0, len(body), room):
            part = body[start : start + room]
            frames += (PREFIX.pack(BODY, channel, len(part)), part, END)
    return b"".join(frames)


def _properties(message: Message, sender: bytes) -> tuple[int, bytes]:
    flags = _CONTENT_TYPE | _DELIVERY_MODE | _USER_ID
    parts = [_JSON]
    if message.headers:
        flags |= _HEADERS
        parts.append(encode.field_table(dict(message.headers)))
    parts.append(_PERSISTENT)
    if message.correlation_id:
        flags |= _CORRELATION_ID
        parts.append(_text(message.correlation_id))
    if message.message_id:
        flags |= _MESSAGE_ID
        parts.append(_text(message.message_id))
    if message.timestamp:
        flags |= _TIMESTAMP
        parts.append(UINT64.pack(int(message.timestamp.timestamp())))
    if message.type:
        flags |= _TYPE
        parts.append(_text(message.type))
    parts.append(sender)
    if message.app_id:
        flags |= _APP_ID
        parts.append(_text(message.app_id))
    return flags, b"".join(parts)


def _text(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > MAX_TEXT:
        raise ValueError(f"longer than {MAX_TEXT} bytes: {text[:40]}...")
    return bytes((len(encoded),)) + encoded


def acks(channel: int, up_to: int | None, single: Sequence[int]) -> bytes:
    """Return the frames that acknowledge all deliveries up to a tag, and others one by one."""
    frames = [] if up_to is None else [_settle(channel, ACK, up_to, _MULTIPLE)]
    return b"".join([*frames, *(_settle(channel, ACK, tag, 0) for tag in single)])


def nacks(channel: int, tags: Sequence[int], *, requeue: bool) -> bytes:
    """Return the frames that give deliveries back, or have them dead-lettered, one by one."""
    return b"".join(_settle(channel, NACK, tag, _REQUEUE if requeue else 0) for tag in tags)


def _settle(channel: int, method: int, tag: int, bits: int) -> bytes:
    return _SETTLE.pack(METHOD, channel, 13, method, tag, bits, END)


def read_confirm(data: bytes, at: int) -> tuple[int, bool]:
    """Return the number of a published message, and whether what is said of it holds for all before it."""
    return int(UINT64.unpack_from(data, at)[0]), bool(data[at + 8] & _MULTIPLE)


def read_deliver(data: bytes, at: int) -> tuple[int, str, str]:
    """Return the tag, the exchange and the routing key of a delivery."""
    at += 1 + data[at]
    tag = int(UINT64.unpack_from(data, at)[0])
    exchange, at = read_text(data, at + 9)
    return tag, exchange, read_text(data, at)[0]


def read_return(data: bytes, at: int) -> tuple[str, str]:
    """Return the exchange and the routing key of a message that no queue takes."""
    _, at = read_text(data, at + 2)
    exchange, at = read_text(data, at)
    return exchange, read_text(data, at)[0]


def read_size(data: bytes, at: int) -> int:
    """Return how many octets of body follow a content header."""
    return int(UINT64.unpack_from(data, at + 4)[0])


_FIELDS = (
    (_CORRELATION_ID, "correlation_id"),
    (_REPLY_TO, ""),
    (_EXPIRATION, ""),
    (_MESSAGE_ID, "message_id"),
    (_TIMESTAMP, "timestamp"),
    (_TYPE, "type"),
    (_USER_ID, "user_id"),
    (_APP_ID, "app_id"),
)


def read_properties(data: bytes, at: int) -> dict[str, Any]:
    """Return the properties in a content header, those that `Delivery` has, by its names for them."""
    flags = int(UINT16.unpack_from(data, at + 12)[0])
    at += 14
    if flags & _CONTENT_TYPE:
        at += 1 + data[at]
    if flags & _CONTENT_ENCODING:
        at += 1 + data[at]
    found: dict[str, Any] = {}
    if flags & _HEADERS:
        found["headers"], at = read_table(data, at)
    at += bool(flags & _DELIVERY_MODE) + bool(flags & _PRIORITY)
    for bit, name in _FIELDS:
        if not flags & bit:
            continue
        if bit == _TIMESTAMP:
            found[name], at = read_time(data, at)
        elif name:
            found[name], at = read_text(data, at)
        else:
            at += 1 + data[at]
    return found


def delivery(tag: int, exchange: str, key: str, properties: dict[str, Any], body: bytes) -> Delivery:
    """Return a delivery, with the redeliveries that the broker has counted in its headers."""
    count = properties["headers"].get("x-delivery-count", 0) if "headers" in properties else 0
    return Delivery(
        tag, exchange, key, body, redeliveries=count if isinstance(count, int) else 0, **properties
    )
