"""Every fault, decided by a seed."""

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
    "half open",
    "slow",
    "store unreachable",
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
    "half open",
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
"""Kinds with few occasions: they strike more often at each."""
VERY_RARE = ("refuse refund", "pending refund")
"""Kinds with hardly any occasion."""
LONG_DELAY = 320.0
"""Seconds: longer than most holds and deadlines, shorter than the time until the last retry."""


class Adversary:
    """Draws the rates of a schedule (most kinds of faults are off, some frequent), then the faults."""

    def __init__(self, seed: int, trace: Trace) -> None:
        self.dice = Random(seed)  # noqa: S311 (reproducible by design)
        self.trace = trace
        self.quiescing = False
        self.fault_counts: dict[str, int] = {}
        self.rates: dict[str, float] = {}
        self.budget: dict[str, int] = {}
        for kind in KINDS:
            if self.dice.random() < 0.45:
                self.rates[kind] = 10 ** self.dice.uniform(-2.3, -0.7) * (4 if kind in RARE else 1)
                self.rates[kind] *= 4 if kind in VERY_RARE else 1
                self.budget[kind] = self.dice.choice((1, 2, 4, 8))
        self.instant_call_share = self.dice.choice((0.0, 0.3, 0.8))
        """The share of calls that take no time."""
        self.mean_latency = 10 ** self.dice.uniform(-3, -0.7)
        """Seconds that the other calls take on average."""
        self.one_long_delay = self.dice.random() < 0.05
        """One call or message of this schedule takes very long."""
        self.roundtrip_documents = seed % 8 == 0
        """In this schedule every stored state is written as a document and read again."""
        self.counts_requeues = seed % 3 != 0
        """In this schedule the broker counts requeued messages as redelivered, like RabbitMQ before 4.3."""

    def strikes(self, kind: str) -> bool:
        """Return whether a fault of this kind strikes now."""
        rate = self.rates.get(kind, 0.0)
        if self.quiescing or not rate or self.dice.random() >= rate or not self.budget[kind]:
            return False
        self.budget[kind] -= 1
        self.count(kind)
        return True

    def count(self, kind: str) -> None:
        """Count a fault of this kind."""
        self.fault_counts[kind] = self.fault_counts.get(kind, 0) + 1

    def latency(self) -> float:
        """Return how long a call takes."""
        if self.strikes("slow"):
            return self.dice.uniform(0.1, 8)
        if self.dice.random() < self.instant_call_share:
            return 0.0
        return self.dice.expovariate(1 / self.mean_latency)

    def lateness(self) -> float:
        """Return how long a message is in transit."""
        if self.strikes("late"):
            if self.one_long_delay:
                self.one_long_delay = False
                return LONG_DELAY
            return self.dice.choice((0.05, 0.5, 3, 12)) * self.dice.random()
        return self.latency()

    def share(self, things: Sequence[T]) -> list[T]:
        """Return some of them, in any order."""
        return self.dice.sample(things, self.dice.randrange(len(things) + 1))


class Process:
    """One run of one replica. Once dead, it never gets an answer, and so does nothing any more."""

    def __init__(self, name: str, adversary: Adversary, on_death: Callable[["Process"], None]) -> None:
        self.name = name
        self.adversary = adversary
        self._loop = asyncio.get_running_loop()
        self.died: asyncio.Future[None] = self._loop.create_future()
        self.poison_candidates = 0
        """Quarantined messages it holds that one more crash would make look like poison: the adversary never
        crashes a process three times around one message."""
        self._on_death = on_death

    @property
    def dead(self) -> bool:
        """Whether it was killed or has stopped."""
        return self.died.done()

    def kill(self, where: str) -> None:
        """End it at once, without any cleanup."""
        if not self.dead:
            self.end(f"KILLED {where}")

    def end(self, how: str) -> None:
        """End it, and have it replaced."""
        self.note(how)
        self.died.set_result(None)
        self._on_death(self)

    async def reach(self, point: str) -> None:
        """Reach a point between two effects: time passes, and the process may die here."""
        if delay := self.adversary.latency():
            await Sleep(self._loop, delay)
        if self.strikes("kill"):
            self.kill(point)
        if self.died.done():
            await self.live()

    async def live(self) -> None:
        """Return, or never if the process is dead."""
        if self.dead:
            await self._loop.create_future()

    async def reach_store(self, point: str) -> None:
        """Reach a point before a call of the store, which may be unreachable."""
        await self.reach(f"before {point}")
        if self.adversary.strikes("store unreachable"):
            raise self.store_unavailable(f"before {point}")

    async def leave_store(self, point: str) -> None:
        """Reach a point after a call of the store, whose answer may be lost."""
        await self.reach(f"after {point}")
        if self.adversary.strikes("store in doubt"):
            raise self.store_unavailable(f"after {point}")

    def store_unavailable(self, when: str) -> Unavailable:
        """Return the error of an unreachable store, and add it to the timeline."""
        self.note(f"store unreachable {when}")
        return Unavailable(f"the store was unreachable {when}")

    def strikes(self, kind: str) -> bool:
        """Return whether it loses its memory or its connection now."""
        return not self.poison_candidates and self.adversary.strikes(kind)

    def note(self, what: str) -> None:
        """Add a line to the timeline."""
        if self.adversary.trace.on:
            self.adversary.trace.add(self._loop.time(), self.name, what)
