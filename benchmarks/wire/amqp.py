"""Counts the methods of one AMQP 0-9-1 connection."""

import struct
from collections import Counter

_HEADER = struct.Struct(">BHI")
_METHOD = struct.Struct(">HH")
_GREETING = 8
"""Bytes with which a client begins a connection."""
METHOD_FRAME, FRAME_END = 1, 1

UPWARDS = {(60, 40): "published", (60, 80): "acks", (60, 120): "nacks"}
DOWNWARDS = {(60, 60): "delivered", (60, 80): "confirms", (60, 50): "returned"}
"""Class and method of what is counted, by direction: from the client, and from the broker."""


class AmqpConnection:
    """Takes both directions of a connection, in chunks as they come, and counts into `counts`.

    An ack or a confirm counts once, however many messages it covers.
    """

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._buffers = {True: bytearray(), False: bytearray()}
        self._greeting = _GREETING

    def feed(self, chunk: bytes, *, upwards: bool) -> None:
        """Take the next bytes from the client (upwards) or from the broker."""
        self._counts["broker bytes"] += len(chunk)
        buffer = self._buffers[upwards]
        buffer += chunk
        if upwards and self._greeting:
            taken = min(self._greeting, len(buffer))
            del buffer[:taken]
            self._greeting -= taken
        names = UPWARDS if upwards else DOWNWARDS
        start = 0
        while len(buffer) - start >= _HEADER.size:
            kind, _, size = _HEADER.unpack_from(buffer, start)
            end = start + _HEADER.size + size + FRAME_END
            if len(buffer) < end:
                break
            if kind == METHOD_FRAME:
                name = names.get(_METHOD.unpack_from(buffer, start + _HEADER.size))
                if name:
                    self._counts[name] += 1
            start = end
        del buffer[:start]
