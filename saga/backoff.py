"""Exponential backoff with jitter: how long to wait before the next attempt."""

import random
from datetime import timedelta
from typing import TypeVar

Pause = TypeVar("Pause", float, timedelta)


def backoff(first: Pause, attempts: int, longest: Pause) -> Pause:
    """Return the pause after `attempts` failures: `first`, doubled with each, and at most `longest`.

    A `first` that is longer than `longest` is not shortened.
    """
    doublings: int = 2 ** min(attempts, 20)
    return min(first * doublings, max(first, longest))


def jittered(seconds: float, least: float = 0.5, dice: random.Random | None = None) -> float:
    """Return a random part of a pause, `least` (0 to 1) of it or more.

    Clients that failed at the same moment then do not try again at the same moment.
    """
    return seconds * (dice or random).uniform(least, 1)
