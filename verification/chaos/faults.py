"""Which part gets which fault, and when: drawn from a seed, so that a plan can be repeated."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeVar

from events.catalogue import SERVICES, short_name

T = TypeVar("T")

Kind = Literal["kill", "stop", "pause", "cut"]

BROKER, DATABASES = "broker", "databases"
DATABASE_OF = {service: f"{short_name(service)}_database" for service in SERVICES}
"""The part that is one service's database; `DATABASES` is all of them at once, as if on one server."""
PARTS = {
    **dict.fromkeys(SERVICES, 4),
    BROKER: 3,
    **dict.fromkeys(DATABASE_OF.values(), 1),
    DATABASES: 2,
}
"""The parts, and each one's share of the faults."""
KINDS: dict[Kind, int] = {"kill": 4, "pause": 3, "cut": 3, "stop": 2}
"""SIGKILL, SIGSTOP for a while, connections cut, SIGTERM; and each one's share of the faults."""

LONGEST_PAUSE = 6.0
LONGEST_DOWN = 3.0
"""The most seconds that a part is paused or down before it continues or starts again."""
BROKER_GRACE = 10.0
"""Seconds at the beginning in which the broker is not restarted: a node that is killed right after its first
start may not come up again, which would test RabbitMQ and not this system."""
BROKER_PAUSE = 40.0
"""Seconds between two restarts of the broker, which takes up to ten to come up."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `at` counts in seconds from the first order; `seconds` is how long it lasts."""

    at: float
    kind: Kind
    part: str
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} of {self.part} at {self.at:.1f} s"


def plan(seed: int, seconds: float, count: int) -> list[Fault]:
    """Draw faults spread evenly over some seconds; the same arguments give the same plan."""
    dice = Random(seed)  # noqa: S311 (reproducible)
    slot = seconds / max(count, 1)
    faults: list[Fault] = []
    broker_from = BROKER_GRACE
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
