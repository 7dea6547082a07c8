"""What the client library cannot decode is read as something that it can."""

import datetime
import subprocess
import sys

import pytest
from pamqp import decode, encode

from saga.rabbitmq import tolerant_decoding as tolerant_decoding

tolerant_decoding.install()


def read_table(value: bytes) -> object:
    consumed, found = decode.METHODS["table"](value + b"more")
    assert consumed == len(value)
    return found


def table(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


def nested(depth: int, kind: bytes) -> bytes:
    inner = b""
    for _ in range(depth):
        inner = (b"\x01a" if kind == b"F" else b"") + kind + table(inner)
    return table(inner if kind == b"F" else b"\x01a" + inner)


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"plain", "plain"), ("é".encode(), "é"), (b"a\xff\xfe", "a??"), (b"\xff" * 255, "?" * 255)],
)
def test_a_short_string_of_any_bytes_is_read_and_rewritten(raw: bytes, text: str) -> None:
    assert decode.METHODS["shortstr"](bytes([len(raw)]) + raw + b"more") == (1 + len(raw), text)
    assert len(encode.short_string(text)) <= 256


def test_valid_headers_are_read() -> None:
    assert read_table(table(b"\x01aI" + (7).to_bytes(4, "big"))) == {"a": 7}
    assert read_table(nested(2, b"F")) == {"a": {"a": {}}}


@pytest.mark.parametrize(
    "value",
    [
        table(b"\x02\xff\xfeI" + bytes(4)),
        table(b"\x01a?"),
        table(b"\x09a"),
        nested(5000, b"F"),
        nested(5000, b"A"),
    ],
)
def test_undecodable_headers_cost_only_themselves(value: bytes) -> None:
    assert isinstance(read_table(value), dict)


@pytest.mark.parametrize(
    "reader", ["saga.rabbitmq.client", "operations.event_tap", "operations.dead_letters.queue"]
)
def test_every_reader_uses_these_decoders(reader: str) -> None:
    program = f"import {reader}; from pamqp import decode; print(decode.METHODS['shortstr'](b'\\x01\\xff'))"
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert said.stdout == "(2, '?')\n", said.stderr


def test_time_past_the_year_9999_is_the_latest() -> None:
    consumed, moment = decode.METHODS["timestamp"]((2**63 - 1).to_bytes(8, "big"))
    assert (consumed, moment) == (8, tolerant_decoding.LATEST)
    assert isinstance(moment, datetime.datetime)
