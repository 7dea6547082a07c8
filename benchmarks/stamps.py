"""When each order has ended: a file of times that processes share."""

import mmap
import struct
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

LIMIT = 1_000_000
"""Orders at most."""
_TIME = struct.Struct("d")


class Stamps:
    """Times by order number, in seconds of the machine's monotonic clock, which its processes share.

    Setting one takes a microsecond, so the end of an order costs no system a message.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        if create:
            with path.open("wb") as file:
                file.truncate(LIMIT * _TIME.size)
        with path.open("r+b") as file:
            self._times = mmap.mmap(file.fileno(), LIMIT * _TIME.size)

    def end(self, number: int) -> None:
        """Say that an order has ended now; only the first time counts."""
        if not self.ended(number):
            _TIME.pack_into(self._times, number * _TIME.size, monotonic())

    def ended(self, number: int) -> float:
        """Return when an order has ended, 0 if it has not."""
        return float(_TIME.unpack_from(self._times, number * _TIME.size)[0])

    def all_ended(self, numbers: Sequence[int]) -> list[float]:
        """Return when each of these orders has ended, 0 for those that have not."""
        return [self.ended(number) for number in numbers]

    def close(self) -> None:
        self._times.close()
