"""Keeps a message with an impossible time from cutting off whoever reads it.

The client library turns a message's `timestamp` into a datetime while it reads from the socket. A value past
the year 9999, such as microseconds typed into the management UI, makes that fail, which ends the connection
before anybody has seen the message, again and again. Such a time is read as the latest one there is.
"""

import datetime

from pamqp import decode

LATEST = datetime.datetime.max.replace(tzinfo=datetime.UTC)
_decode = decode.timestamp


def _lenient(value: bytes) -> tuple[int, datetime.datetime]:
    try:
        return _decode(value)
    except (OverflowError, OSError, ValueError):
        if len(value) < 8:
            raise
        return 8, LATEST


def install() -> None:
    """Make the client library read every time there can be in a message. May be called more than once."""
    decode.METHODS["timestamp"] = _lenient
    decode.TABLE_MAPPING[b"T"] = _lenient
