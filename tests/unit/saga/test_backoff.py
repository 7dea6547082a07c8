"""Exponential backoff with jitter."""

import random
from datetime import timedelta

import pytest

from saga.backoff import backoff, jittered


def test_pauses_double_up_to_the_longest() -> None:
    assert [backoff(1.0, attempts, 5.0) for attempts in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert backoff(timedelta(seconds=1), 2, timedelta(hours=1)) == timedelta(seconds=4)


def test_any_number_of_attempts_is_no_overflow() -> None:
    assert backoff(timedelta(seconds=1), 10_000, timedelta(hours=1)) == timedelta(hours=1)


def test_a_first_pause_beyond_the_longest_stays() -> None:
    assert [backoff(7.0, attempts, 5.0) for attempts in range(3)] == [7.0, 7.0, 7.0]


@pytest.mark.parametrize("least", [0.0, 0.1, 0.5, 1.0])
def test_jitter_takes_a_part_between_the_least_and_all(least: float) -> None:
    parts = [jittered(10.0, least, random.Random(seed)) for seed in range(200)]
    assert 10 * least <= min(parts) <= 10 * least + 0.5
    assert 9.5 <= max(parts) <= 10


def test_a_seed_makes_jitter_repeatable() -> None:
    random.seed(5)
    first = jittered(1.0)
    random.seed(5)
    assert jittered(1.0) == first == jittered(1.0, dice=random.Random(5))
