"""Invalid messages of every kind, drawn from a seed."""

import gzip
import json
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any

from pamqp.commands import Basic

from events.catalogue import INVENTORY, ORDER, PAYMENT
from events.codec import InvalidEvent
from saga.messaging.message import Delivery, read_event
from saga.messaging.topology import Topology
from tests.support.services import TOPOLOGIES

KEY = "InventoryReservationRequested"
LARGE = 4 * 1024 * 1024
"""Bytes of a giant."""
GIANTS = 40

BAD_AMOUNTS = (
    *("0", "-0", "0.00", "-1", "1e400", "1E+999999999", "1e-999999999", "NaN", "Infinity", "-Infinity"),
    *("true", "null", "[]", "{}", "0.00001", "1e12", "9" * 5000, "-" + "9" * 300, "00.5", "+1", ".5", "1."),
    *('""', '"NaN"', '"Infinity"', '"-Infinity"', '"1,5"', '" 1"', '"1 "', '"0x10"', '"1_000"', '"1e"'),
    *(
        '"٣"',
        '"\uff11"',
        '"0.00001"',
        '"1000000000000"',
        '"' + "9" * 5000 + '"',
        '"--1"',
        '"\\u0000"',
        '"1e400"',
    ),
)
METHODS = r"[A-Za-z0-9_:.=-]{1,128}"
"""Payment methods have dots where ids have none."""
GOOD_AMOUNTS = (
    *("25", "25.0", "2.5e1", "0.0001", "1e-4", "12.3400000000", "999999999999.9999"),
    *('"25.00"', '"2.5E1"', '"25.000000"', '"1"'),
)
BAD_IDS: tuple[object, ...] = (
    *(
        "a.b",
        "*",
        "#",
        "a.*",
        "#.a",
        ".",
        "",
        " ",
        "a b",
        "a\n",
        "\x00",
        "é",
        "\ud800",
        "../x",
        "a/b",
        "a%2eb",
    ),
    *("x" * 65, "x" * 100_000, 12, 1.5, True, [], {}, ["a"]),
)
_ATTEMPTS: tuple[object, ...] = (-1, 2**62, "many", True, 1.5, None, [], {}, Decimal("0.5"))
_EVENT_IDS: tuple[object, ...] = ("a.b", "#", "x" * 10_000, 5, None, [], {}, bytearray(b"\xff"))
ODD_HEADERS: tuple[dict[Any, Any], ...] = (
    *({"x-saga-attempts": value} for value in _ATTEMPTS),
    *({"x-saga-event-id": value} for value in _EVENT_IDS),
    {"x-saga-exchange": "elsewhere", "x-saga-routing-key": "x" * 3000},
    {"x-saga-exchange": 5, "x-saga-routing-key": []},
    {"x-saga-reason": "x" * 60_000},
    {"x-saga-other": bytearray(b"\xff\xfe")},
    {"x-death": "none"},
    {"x-death": [{"exchange": 1, "routing-keys": 5, "reason": []}]},
    {"traceparent": 5},
    {"traceparent": "x" * 5000},
    {
        "many": [
            None,
            True,
            -1,
            2**62,
            1.5,
            "text",
            bytearray(b"\xff"),
            Decimal("1.25"),
            datetime(1970, 1, 1, tzinfo=UTC),
        ]
    },
    {f"h-{number}": number for number in range(1000)},
)


class Raw(str):
    """A string that goes over the wire as these bytes, whether they are UTF-8 or not."""

    raw: bytes

    def __new__(cls, raw: bytes) -> "Raw":
        text = super().__new__(cls, raw.decode("latin-1"))
        text.raw = raw
        return text

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return self.raw


class RawHeaders(Basic.Properties):
    """Properties that are headers alone, as these bytes."""

    def __init__(self, table: bytes) -> None:
        super().__init__()
        self._table = table

    def marshal(self) -> bytes:
        return struct.pack(">H", self.flags["headers"]) + self._table


@dataclass(frozen=True, slots=True)
class Sent:
    """A message to publish, and where it has to end: in these dead-letter queues, or in a confirmed order.

    `properties` are those of AMQP, or `table`: headers as they go over the wire.
    """

    about: str
    body: bytes
    dead_at: Sequence[str] = ()
    order_id: str = ""
    exchange: str = "order.events"
    key: str = KEY
    properties: dict[str, Any] = field(default_factory=dict)

    def amqp(self) -> Basic.Properties:
        """Return the properties as the client library takes them."""
        if "table" in self.properties:
            return RawHeaders(self.properties["table"])
        return Basic.Properties(delivery_mode=2, **self.properties)


class Forge:
    """Makes the messages of a seed; all good ones order this product."""

    def __init__(self, seed: int, product: str) -> None:
        self._dice = Random(f"{seed}/bad input")
        self._product = product

    def everything(self) -> list[Sent]:
        """Return all of them, in an order of the seed's, the giants one after the other."""
        messages = [
            *self._bodies(),
            *self._amounts(),
            *self._ids(),
            *self._ways(),
            *self._properties(),
            *self._nobodys(),
            *self._mutants(),
            *(self._good("a good order", self._request()) for _ in range(40)),
        ]
        self._dice.shuffle(messages)
        middle = self._dice.randrange(len(messages))
        return [*messages[:middle], *self._giants(), *messages[middle:]]

    def _request(self, **fields: object) -> dict[str, Any]:
        return {
            "type": KEY,
            "orderId": f"fuzz-{self._dice.getrandbits(96):x}",
            "userId": "u-1",
            "items": [{"productId": self._product, "quantity": 1}],
            "totalAmount": "12.50",
            **fields,
        }

    def _bad(self, about: str, body: bytes, **more: Any) -> Sent:
        return Sent(about, body, dead_at=(ORDER, INVENTORY), **more)

    def _good(self, about: str, fields: dict[str, Any], **more: Any) -> Sent:
        return Sent(about, json.dumps(fields).encode(), order_id=fields["orderId"], **more)

    def _bodies(self) -> Iterator[Sent]:
        good = json.dumps(self._request()).encode()
        deep = b"[" * 100_000 + b"]" * 100_000
        for number, body in enumerate(
            [
                b"",
                b" \n",
                b"null",
                b"[]",
                b'"text"',
                b"1",
                b"\xff\xfe\x00",
                b"\xef\xbb\xbf" + good,
                good.decode().encode("utf-16"),
                good.replace(b"u-1", "ü".encode("latin-1")),
                good + good,
                good.replace(b'"type"', b"type"),
                good.replace(KEY.encode(), b"Unheard"),
                good.replace(b'"' + KEY.encode() + b'"', b"[]"),
                gzip.compress(good),
                b"{" * 100_000,
                b"[" * 100_000,
                deep,
                good[:-1] + b',"unknown":' + deep + b"}",
                good[:-1] + b',"unknown":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
                good[:-1] + b',"unknown":' + b"9" * 100_000 + b"}",
                *(good[: self._dice.randrange(1, len(good))] for _ in range(20)),
                *(self._dice.randbytes(self._dice.randrange(1, 2000)) for _ in range(20)),
            ]
        ):
            yield self._bad(f"body {number}", body)
        yield self._bad("gzip that says so", gzip.compress(good), properties={"content_encoding": "gzip"})

    def _amounts(self) -> Iterator[Sent]:
        for amount in (*BAD_AMOUNTS, *GOOD_AMOUNTS):
            fields = self._request(totalAmount="@")
            body = json.dumps(fields).replace('"@"', amount).encode()
            if amount in GOOD_AMOUNTS:
                yield Sent(f"amount {amount[:40]}", body, order_id=fields["orderId"])
            else:
                yield self._bad(f"amount {amount[:40]}", body)
                fields = {**fields, "type": "PaymentRequested", "amount": "@", "idempotencyKey": "k"}
                body = json.dumps(fields).replace('"@"', amount).encode()
                yield Sent(f"payment of {amount[:40]}", body, (PAYMENT,), key="PaymentRequested")

    def _ids(self) -> Iterator[Sent]:
        for name in (
            "orderId",
            "userId",
            "eventId",
            "correlationId",
            "causationId",
            "items",
            "paymentMethod",
        ):
            for bad in BAD_IDS:
                value = [{"productId": bad, "quantity": 1}] if name == "items" else bad
                if name != "paymentMethod" or not re.fullmatch(METHODS, str(bad)) or not isinstance(bad, str):
                    yield self._bad(
                        f"{name} {bad!r:.40}", json.dumps(self._request(**{name: value})).encode()
                    )

    def _ways(self) -> Iterator[Sent]:
        for end in ("", ".a.b.c", ".#", ".*", "..", "." + "x" * 200):
            yield self._good(f"key with {end:.9}", self._request(), key=KEY + end)
            yield self._bad(f"key with {end:.9}", b"{", key=KEY + end)
        yield self._good("key that is no text", self._request(), key=Raw(KEY.encode() + b".\xff\xfe"))
        yield self._bad("key that is no text", b"{", key=Raw(KEY.encode() + b".\xff" + b"\xfe" * 200))
        body = json.dumps(self._request()).encode()
        yield Sent("another event's key", body, (PAYMENT,), key="PaymentRequested.x")
        yield Sent("another exchange", body, (ORDER,), exchange="inventory.events", key="InventoryReserved")

    def _properties(self) -> Iterator[Sent]:
        for properties in self._odd_properties():
            about = f"properties {properties!r:.60}"
            yield self._good(about, self._request(), properties=properties)
            yield self._bad(about, b"{" + about.encode(), properties=properties)

    def _odd_properties(self) -> Iterator[dict[str, Any]]:
        yield {"timestamp": datetime.fromtimestamp(0, UTC)}
        for name in ("content_type", "content_encoding", "message_type", "app_id", "reply_to"):
            for value in ("", "PaymentRequested", "a.*.#", "é" * 127, Raw(b"\xff" * 255)):
                yield {name: value}
        for name in ("message_id", "correlation_id"):
            for value in ("a.*.#", "é" * 127, Raw(b"\xff\xfe"), Raw(b"\xff" * 255)):
                yield {name: value}
        for headers in ODD_HEADERS:
            yield {"headers": dict(headers)}
        yield {"headers": {Raw(b"\xff\xfe"): "a name that is no text"}}
        for depth in (20, 2000):
            yield {"table": nested_table(depth)}
            yield {"table": nested_array(depth)}

    def _nobodys(self) -> Iterator[Sent]:
        for kind, exchange in (
            ("InventoryReleased", "inventory.events"),
            ("PaymentFailed", "payment.events"),
        ):
            for attempts in (None, 1, 2**62):
                fields = {
                    "type": kind,
                    "orderId": f"unknown-{self._dice.getrandbits(96):x}",
                    "reason": "none",
                }
                headers = {} if attempts is None else {"x-saga-attempts": attempts}
                yield Sent(
                    f"{kind} of an unknown order",
                    json.dumps(fields).encode(),
                    (ORDER,),
                    exchange=exchange,
                    key=kind,
                    properties={"headers": headers},
                )

    def _giants(self) -> Iterator[Sent]:
        for number in range(GIANTS):
            body = json.dumps(self._request(unknown=str(number) + "x" * LARGE)).encode()
            yield self._bad(f"giant {number}", body if number % 2 else b"\x00" * (LARGE + number))

    def _mutants(self) -> Iterator[Sent]:
        for number in range(150):
            body = bytearray(json.dumps(self._request()).encode())
            for _ in range(self._dice.randrange(1, 4)):
                body[self._dice.randrange(len(body))] = self._dice.randrange(256)
            refused = [name for name in (ORDER, INVENTORY) if _refuses(TOPOLOGIES[name], bytes(body))]
            yield Sent(f"mutant {number}", bytes(body), refused)


def _refuses(topology: Topology, body: bytes) -> bool:
    try:
        read_event(Delivery(1, "order.events", KEY, body), topology, datetime.now(UTC))
    except InvalidEvent:
        return True
    return False


def nested_table(depth: int) -> bytes:
    """Return a table in a table in a table, as it goes over the wire."""
    inner = b""
    for _ in range(depth):
        inner = b"\x04deepF" + len(inner).to_bytes(4, "big") + inner
    return len(inner).to_bytes(4, "big") + inner


def nested_array(depth: int) -> bytes:
    """Return a table with an array in an array in an array, as it goes over the wire."""
    inner = b""
    for _ in range(depth):
        inner = b"A" + len(inner).to_bytes(4, "big") + inner
    inner = b"\x04deep" + inner
    return len(inner).to_bytes(4, "big") + inner
