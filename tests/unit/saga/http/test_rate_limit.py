"""How many requests each caller may send."""

import pytest

from saga.http.auth import ANONYMOUS, SCOPES, Caller
from saga.http.rate_limit import RateLimit
from tests.support.clock import Clock

OTHER = Caller(b"digest", frozenset(SCOPES))


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_requests_beyond_a_burst_have_to_wait(clock: Clock) -> None:
    limit = RateLimit(0.25, 3, clock.seconds)
    assert [limit.take(ANONYMOUS) for _ in range(5)] == [0, 0, 0, 4, 4]
    clock.advance(3.5)
    assert limit.take(ANONYMOUS) == 1
    clock.advance(0.5)
    assert [limit.take(ANONYMOUS) for _ in range(2)] == [0, 4]


def test_idle_time_earns_no_more_than_a_burst(clock: Clock) -> None:
    limit = RateLimit(10, 2, clock.seconds)
    limit.take(ANONYMOUS)
    clock.advance(3600)
    assert [limit.take(ANONYMOUS) for _ in range(3)] == [0, 0, 1]


def test_callers_do_not_slow_each_other(clock: Clock) -> None:
    limit = RateLimit(1, 1, clock.seconds)
    assert [limit.take(ANONYMOUS), limit.take(ANONYMOUS), limit.take(OTHER)] == [0, 1, 0]
