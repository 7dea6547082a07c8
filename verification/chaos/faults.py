"""Which faults strike which parts, and when: drawn from a seed, so that a plan can be had again."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeVar

from events.catalogue import SERVICES

T = TypeVar("T")

Kind = Literal["kill", "stop", "pause", "cut"]

BROKER, DATABASE = "broker", "database"
PARTS = {**dict.fromkeys(SERVICES, 4), BROKER: 3, DATABASE: 3}
"""What may be struck, and how often in proportion."""
KINDS: dict[Kind, int] = {"kill": 4, "pause": 3, "cut": 3, "stop": 2}
"""SIGKILL, SIGSTOP for a while, connections cut, SIGTERM; and how often in proportion."""

LONGEST_PAUSE = 6.0
LONGEST_DOWN = 3.0
"""Seconds that a part is stopped or down, at most, before it is continued or started again."""
BROKER_SPARED = 10.0
"""Seconds at the beginning in which the broker goes on: a node killed right after its first start may not
come up again, which is a fault of its own and none of ours."""
BROKER_PAUSE = 40.0
"""Seconds between two restarts of the broker, which takes up to ten to come up."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One strike: `at` counts in seconds from the first order; `seconds` is how long it lasts."""

    at: float
    kind: Kind
    part: str
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} of {self.part} at {self.at:.1f} s"


def plan(seed: int, seconds: float, count: int) -> list[Fault]:
    """Draw faults, spread evenly over so many seconds; the same arguments give the same plan."""
    dice = Random(seed)  # noqa: S311 (reproducible)
    slot = seconds / max(count, 1)
    faults: list[Fault] = []
    broker_from = BROKER_SPARED
    for number in range(count):
        at = (number + dice.random()) * slot
        kind = _draw(dice, KINDS)
        part = _draw(dice, PARTS)
        other = dice.choice(SERVICES)
        if part == BROKER and kind in ("kill", "stop"):
            if at < broker_from:
                part = other
            else:
                broker_from = at + BROKER_PAUSE
        longest = {"pause": LONGEST_PAUSE, "cut": 0.0}.get(kind, LONGEST_DOWN)
        faults.append(Fault(round(at, 3), kind, part, round(dice.uniform(0, longest), 3)))
    return faults


def _draw(dice: Random, weights: Mapping[T, int]) -> T:
    return dice.choices(list(weights), list(weights.values()))[0]
