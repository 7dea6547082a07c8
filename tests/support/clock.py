"""The clock of the tests."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)


class Clock:
    """A clock that only the test moves, or that each reading moves by `tick` seconds.

    Call it for the time of day, or `seconds` for a monotonic clock. `slept` lists the pauses skipped.
    """

    def __init__(self, start: datetime = START, tick: float = 0.0) -> None:
        self.elapsed = 0.0
        self.slept: list[float] = []
        self._start = start
        self._tick = tick

    def __call__(self) -> datetime:
        self.advance(self._tick)
        return self._start + timedelta(seconds=self.elapsed)

    def seconds(self) -> float:
        """Return the seconds since the start."""
        self.advance(self._tick)
        return self.elapsed

    def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        self.elapsed += seconds

    async def sleep(self, seconds: float) -> None:
        """Take the place of `asyncio.sleep`: let the time pass at once."""
        self.slept.append(seconds)
        self.advance(seconds)
