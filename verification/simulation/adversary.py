"""Everything that goes wrong, decided by a seed."""

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

from saga.errors import Unavailable
from verification.simulation.clock import Sleep
from verification.simulation.trace import Trace

T = TypeVar("T")

KINDS = (
    "kill",
    "cut",
    "slow",
    "store away",
    "store in doubt",
    "store conflict",
    "store torn",
    "publish refused",
    "confirm lost",
    "duplicate",
    "late",
    "split",
    "provider down",
    "provider silent",
    "provider in doubt",
    "outage",
    "decline",
    "late approval",
    "refuse refund",
    "pending",
    "pending refund",
)
RARE = (
    "split",
    "late",
    "duplicate",
    "provider down",
    "provider silent",
    "provider in doubt",
    "decline",
    "late approval",
    "refuse refund",
    "pending",
    "pending refund",
)
"""Kinds with few occasions to strike: they strike more often when there is one."""
SELDOM = ("refuse refund", "pending refund")
"""Kinds with hardly any."""
LONG = 320.0
"""Seconds: later than most holds and deadlines, sooner than the last retry gives up."""


class Adversary:
    """Draws a temper for each schedule (most kinds of fault are off, some frequent), then the faults."""

    def __init__(self, seed: int, trace: Trace) -> None:
        self.dice = Random(seed)  # noqa: S311 (reproducible by design)
        self.trace = trace
        self.calm = False
        self.struck: dict[str, int] = {}
        self.rates: dict[str, float] = {}
        self.budget: dict[str, int] = {}
        for kind in KINDS:
            if self.dice.random() < 0.45:
                self.rates[kind] = 10 ** self.dice.uniform(-2.3, -0.7) * (4 if kind in RARE else 1)
                self.rates[kind] *= 4 if kind in SELDOM else 1
                self.budget[kind] = self.dice.choice((1, 2, 4, 8))
        self.hurry = self.dice.choice((0.0, 0.3, 0.8))
        """The share of the calls that take no time at all."""
        self.pace = 10 ** self.dice.uniform(-3, -0.7)
        """Seconds that the others take on average."""
        self.patient = self.dice.random() < 0.05
        """Once in this schedule something takes very long."""
        self.thorough = seed % 8 == 0
        """In this schedule everything that is stored is written as a document and read again."""
        self.counts_what_is_given_back = seed % 3 != 0
        """In this schedule the broker is a RabbitMQ before 4.3: what is given back counts as redelivered."""

    def strikes(self, kind: str) -> bool:
        """Return whether this goes wrong now."""
        rate = self.rates.get(kind, 0.0)
        if self.calm or not rate or self.dice.random() >= rate or not self.budget[kind]:
            return False
        self.budget[kind] -= 1
        self.count(kind)
        return True

    def count(self, kind: str) -> None:
        """Remember that something of this kind went wrong."""
        self.struck[kind] = self.struck.get(kind, 0) + 1

    def latency(self) -> float:
        """Return how long a call takes."""
        if self.strikes("slow"):
            return self.dice.uniform(0.1, 8)
        if self.dice.random() < self.hurry:
            return 0.0
        return self.dice.expovariate(1 / self.pace)

    def lateness(self) -> float:
        """Return how long a message is under way."""
        if self.strikes("late"):
            if self.patient:
                self.patient = False
                return LONG
            return self.dice.choice((0.05, 0.5, 3, 12)) * self.dice.random()
        return self.latency()

    def share(self, things: Sequence[T]) -> list[T]:
        """Return some of them, in any order."""
        return self.dice.sample(things, self.dice.randrange(len(things) + 1))


class Process:
    """One run of one replica. Dead, it never gets an answer again, and so does nothing any more."""

    def __init__(self, name: str, adversary: Adversary, on_death: Callable[["Process"], None]) -> None:
        self.name = name
        self.adversary = adversary
        self._loop = asyncio.get_running_loop()
        self.died: asyncio.Future[None] = self._loop.create_future()
        self.spared = 0
        """Messages it reads alone that would be taken for deadly if it died once more: three deaths in a row
        are the mark of a message that kills its reader, and the adversary does not forge it."""
        self._on_death = on_death

    @property
    def dead(self) -> bool:
        """It was killed."""
        return self.died.done()

    def kill(self, where: str) -> None:
        """End it at once; nothing is cleaned up."""
        if not self.dead:
            self.end(f"KILLED {where}")

    def end(self, how: str) -> None:
        """Be no more."""
        self.note(how)
        self.died.set_result(None)
        self._on_death(self)

    async def reach(self, point: str) -> None:
        """Come to a point between two effects: time passes, and the process may die here."""
        if delay := self.adversary.latency():
            await Sleep(self._loop, delay)
        if self.strikes("kill"):
            self.kill(point)
        if self.died.done():
            await self.live()

    async def live(self) -> None:
        """Go on, unless it is dead."""
        if self.dead:
            await self._loop.create_future()

    async def reach_store(self, point: str) -> None:
        """Come to a point before something is asked of the store, which may be away."""
        await self.reach(f"before {point}")
        if self.adversary.strikes("store away"):
            raise self.away(f"before {point}")

    async def leave_store(self, point: str) -> None:
        """Come to a point after the store did something, of which one may not hear."""
        await self.reach(f"after {point}")
        if self.adversary.strikes("store in doubt"):
            raise self.away(f"after {point}")

    def away(self, when: str) -> Unavailable:
        """Return the error of a store that went away, and put it into the timeline."""
        self.note(f"store away {when}")
        return Unavailable(f"the store went away {when}")

    def strikes(self, kind: str) -> bool:
        """Return whether its memory or its connection is lost now."""
        return not self.spared and self.adversary.strikes(kind)

    def note(self, what: str) -> None:
        """Put something into the timeline."""
        if self.adversary.trace.on:
            self.adversary.trace.add(self._loop.time(), self.name, what)
