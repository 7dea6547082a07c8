"""Back-pressure: what is rejected while messages wait, and what is not."""

import pytest

from saga.errors import Unavailable
from saga.http.back_pressure import CHECK_EVERY, BackPressure
from saga.http.problems import Problem
from tests.support.clock import Clock

LIMIT = 10


class Queue:
    """What the broker says; None: it cannot be asked."""

    def __init__(self, waiting: int | None) -> None:
        self.waiting = waiting
        self.asked = 0

    async def backlog(self) -> int:
        self.asked += 1
        if self.waiting is None:
            raise Unavailable("gone")
        return self.waiting


async def accepted(door: BackPressure, requests: int) -> int:
    """Return how many of so many requests pass."""
    passed = 0
    for _ in range(requests):
        try:
            await door()
            passed += 1
        except Problem as problem:
            if (problem.status, problem.headers) != (503, {"Retry-After": "5"}):
                raise
    return passed


async def test_requests_pass_until_the_limit_is_reached() -> None:
    queue, clock = Queue(LIMIT - 3), Clock()
    assert await accepted(BackPressure(queue.backlog, LIMIT, clock.seconds), 20) == 3


async def test_the_broker_is_asked_once_a_second() -> None:
    queue, clock = Queue(0), Clock()
    door = BackPressure(queue.backlog, LIMIT, clock.seconds)
    await accepted(door, 5)
    assert queue.asked == 1
    clock.advance(CHECK_EVERY)
    await accepted(door, 5)
    assert queue.asked == 2


async def test_requests_pass_again_once_messages_are_handled() -> None:
    queue, clock = Queue(LIMIT), Clock()
    door = BackPressure(queue.backlog, LIMIT, clock.seconds)
    assert await accepted(door, 3) == 0
    queue.waiting = 0
    assert await accepted(door, 3) == 0
    clock.advance(CHECK_EVERY)
    assert await accepted(door, 3) == 3


@pytest.mark.parametrize("seconds", [0.0, CHECK_EVERY])
async def test_requests_pass_while_the_broker_cannot_be_asked(seconds: float) -> None:
    queue, clock = Queue(None), Clock()
    door = BackPressure(queue.backlog, LIMIT, clock.seconds)
    for _ in range(3):
        assert await accepted(door, 3) == 3
        clock.advance(seconds)
