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
_field_table = decode.field_table


def read_time(data: bytes, at: int) -> tuple[datetime.datetime, int]:
    """Return the time that begins at an octet, and where the next value begins."""
    try:
        return _timestamp(data[at : at + 8])[1], at + 8
    except (OverflowError, OSError, ValueError):
        if len(data) < at + 8:
            raise
        return LATEST, at + 8


def read_text(data: bytes, at: int) -> tuple[str, int]:
    """Return the short string that begins at an octet, and where the next value begins."""
    end = at + 1 + data[at]
    raw = data[at + 1 : end]
    try:
        return raw.decode(), end
    except UnicodeDecodeError:
        return raw.decode("ascii", errors="replace").replace("\ufffd", "?"), end


def read_table(data: bytes, at: int) -> tuple[Any, int]:
    """Return the headers that begin at an octet, and where the next value begins."""
    end = at + 4 + int.from_bytes(data[at : at + 4], "big")
    try:
        return _field_table(data[at:end])[1], end
    except (ValueError, RecursionError):
        if len(data) < end:
            raise
        return {}, end


def _timestamp_of(value: bytes) -> tuple[int, datetime.datetime]:
    found, end = read_time(value, 0)
    return end, found


def _short_string_of(value: bytes) -> tuple[int, str]:
    found, end = read_text(value, 0)
    return end, found


def _table_of(value: bytes) -> tuple[int, Any]:
    found, end = read_table(value, 0)
    return end, found


def install() -> None:
    """Make the client library decode every possible message. May be called more than once."""
    decode.METHODS["timestamp"] = decode.TABLE_MAPPING[b"T"] = _timestamp_of
    decode.METHODS["shortstr"] = _short_string_of
    decode.METHODS["table"] = decode.TABLE_MAPPING[b"F"] = _table_of
