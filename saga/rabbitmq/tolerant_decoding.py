"""Keeps a message with undecodable properties from ending the connection of its reader.

The client library decodes a message's properties while it reads from the socket. What it cannot decode ends
the connection before any code has seen the message, at each redelivery, and every message that was delivered
with it counts as if it had crashed its reader. The broker checks none of this. So the library is made to
decode:

- a time past the year 9999, such as microseconds typed into the management UI, as the latest possible one;
- a short string (an id, a type, a routing key) that is not UTF-8, with `?` for each byte that is not ASCII:
  a copy is then no longer than the original;
- headers that are nested too deeply, or whose names are not UTF-8, as none.
"""

import datetime
from typing import Any

from pamqp import decode

LATEST = datetime.datetime.max.replace(tzinfo=datetime.UTC)
_timestamp = decode.timestamp
_short_str = decode.short_str
_field_table = decode.field_table


def _tolerant_timestamp(value: bytes) -> tuple[int, datetime.datetime]:
    try:
        return _timestamp(value)
    except (OverflowError, OSError, ValueError):
        if len(value) < 8:
            raise
        return 8, LATEST


def _tolerant_short_str(value: bytes) -> tuple[int, str]:
    try:
        return _short_str(value)
    except UnicodeDecodeError:
        end = 1 + value[0]
        return end, value[1:end].decode("ascii", errors="replace").replace("\ufffd", "?")


def _tolerant_table(value: bytes) -> tuple[int, Any]:
    try:
        return _field_table(value)
    except (ValueError, RecursionError):
        end = 4 + int.from_bytes(value[:4], "big")
        if len(value) < end:
            raise
        return end, {}


def install() -> None:
    """Make the client library decode every possible message. May be called more than once."""
    decode.METHODS["timestamp"] = decode.TABLE_MAPPING[b"T"] = _tolerant_timestamp
    decode.METHODS["shortstr"] = _tolerant_short_str
    decode.METHODS["table"] = decode.TABLE_MAPPING[b"F"] = _tolerant_table
