"""A run of the benchmark: each system in turn, on servers of its own, counted, measured and verified."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from benchmarks.load import Times, at_rate, burst, one_by_one
from benchmarks.machine import machine_facts
from benchmarks.plan import Plan
from benchmarks.processes import busy_seconds, cpu_seconds, megabytes
from benchmarks.report import BenchReport, Counts, Latency, Round, SystemReport
from benchmarks.stamps import Stamps
from benchmarks.systems.nodes import in_thread
from benchmarks.systems.peers import peers
from benchmarks.systems.saga import SagaSystem
from benchmarks.systems.system import BROKER, CLIENT, DATABASE, Running, Stored, System
from benchmarks.wire.counting import Counting, counting
from local_stack.rabbitmq_node import BrokerNode
from operations.access.broker_definitions import users
from operations.access.passwords import RABBITMQ, named_or_made
from operations.registry import TOPOLOGIES
from saga.errors import SagaError
from saga.messaging.users import ADMINISTRATOR

TRAILING = 0.3
"""Seconds after the last end in which acks are still under way; they count as CPU of the burst."""
FASTSTREAM_MISSING = "FastStream: not installed; pip install -e '.[benchmarks]'"


class Progress(Protocol):
    """Where a run reports its progress."""

    def phase(self, text: str, orders: int = 0) -> None:
        """Show what the run is doing, and with how many orders."""

    def ended(self, count: int) -> None:
        """Count orders that have ended."""


async def run_bench(directory: Path, plan: Plan, with_peers: bool, progress: Progress) -> BenchReport:
    """Measure every system below a directory; return the report.

    Raises:
        ProcessFailed: the broker does not come up.
    """
    started = time.monotonic()
    systems: list[System] = [SagaSystem(plan.replicas), *(peers() if with_peers else [])]
    reports = {system.name: SystemReport(system.name, system.about) for system in systems}
    progress.phase("starting RabbitMQ")
    async with _broker(directory) as broker:
        machine = await asyncio.to_thread(machine_facts, broker.url, broker.management_url)
        for number in range(plan.rounds):
            for system in systems:
                place = directory / f"{number}-{system.name.replace(' ', '-')}"
                place.mkdir(parents=True)
                measuring = _Measuring(place, broker, plan, progress, reports[system.name], system)
                try:
                    await measuring.measure(counted=number == 0)
                except (SagaError, OSError, ExceptionGroup) as error:
                    reports[system.name].problems.append(_explain(error))
    missing = [FASTSTREAM_MISSING] if with_peers and len(systems) < 3 else []
    return BenchReport(machine, plan, list(reports.values()), missing, time.monotonic() - started)


class _Measuring:
    """One system in one round."""

    def __init__(
        self,
        directory: Path,
        broker: BrokerNode,
        plan: Plan,
        progress: Progress,
        report: SystemReport,
        system: System,
    ) -> None:
        self._directory = directory
        self._broker = broker
        self._plan = plan
        self._progress = progress
        self._report = report
        self._system = system
        self._stamps = Stamps(directory / "stamps", create=True)
        self._next = 0

    async def measure(self, *, counted: bool) -> None:
        """Count, measure, and check every order that was placed."""
        self._phase("starting")
        async with self._system.stored(self._directory, self._broker) as stored:
            if counted:
                async with (
                    counting(stored.addresses) as wires,
                    stored.running(wires.addresses, self._stamps, self._directory) as running,
                ):
                    await self._count(wires, running)
                    if not self._plan.direct:
                        await self._round_and_check(stored, running)
            if self._plan.direct:
                self._phase("starting")
                async with stored.running(stored.addresses, self._stamps, self._directory) as running:
                    await self._round_and_check(stored, running)

    async def _count(self, wires: Counting, running: Running) -> None:
        await self._burst(running, self._plan.warm_up, "warming up")
        await asyncio.sleep(TRAILING)
        wires.counts()
        numbers = self._numbers(self._plan.sequence, "counting, one after the other")
        await one_by_one(running.submit, self._stamps, numbers, self._progress.ended)
        await asyncio.sleep(TRAILING)
        self._report.one_by_one = _per_saga(wires.counts(), len(numbers))
        await self._burst(running, self._plan.batch, "counting, in a burst")
        await asyncio.sleep(TRAILING)
        self._report.batched = _per_saga(wires.counts(), self._plan.batch)

    async def _round_and_check(self, stored: Stored, running: Running) -> None:
        """Measure one round; check while the services run, since they mark what they have published later."""
        self._report.rounds.append(await self._round(stored, running))
        self._phase("verifying")
        self._report.verified += self._next
        self._report.problems += await stored.problems(self._next)

    async def _round(self, stored: Stored, running: Running) -> Round:
        parts = {
            BROKER: [child.pid for child in self._broker.children],
            DATABASE: stored.processes,
            **running.processes,
        }
        await self._burst(running, self._plan.warm_up, "warming up")
        await asyncio.sleep(TRAILING)
        self._phase("at rest")
        before, started = _cpu(parts), time.monotonic()
        await asyncio.sleep(self._plan.idle_seconds)
        idle = sum(_since(before, parts).values()) / (time.monotonic() - started)
        before, busy, started = _cpu(parts), busy_seconds(), time.monotonic()
        times = await self._burst(running, self._plan.orders, "throughput")
        await asyncio.sleep(TRAILING)
        used = _since(before, parts)
        others = busy_seconds() - busy - sum(used.values())
        seconds = time.monotonic() - started
        memory = megabytes(one for ids in running.processes.values() for one in ids)
        return Round(
            per_second=times.per_second,
            cpu={part: 1000 * value / self._plan.orders for part, value in used.items()},
            idle_percent=100 * idle,
            megabytes=memory,
            others_percent=100 * max(0.0, others) / seconds / (os.cpu_count() or 1),
            latencies=[one async for one in self._latencies(running)],
        )

    async def _latencies(self, running: Running) -> AsyncIterator[Latency]:
        for rate in self._plan.rates:
            numbers = self._numbers(max(1, round(rate * self._plan.seconds)), f"latency at {rate:g}/s")
            times = await at_rate(running.submit, self._stamps, numbers, rate, self._progress.ended)
            yield Latency.of(rate, times)
            if not times.kept_up:
                return

    async def _burst(self, running: Running, count: int, what: str) -> Times:
        return await burst(running.submit, self._stamps, self._numbers(count, what), self._progress.ended)

    def _numbers(self, count: int, what: str) -> range:
        """Return the numbers of the next orders, and say what they are for."""
        self._phase(what, count)
        numbers = range(self._next, self._next + count)
        self._next += count
        return numbers

    def _phase(self, what: str, orders: int = 0) -> None:
        self._progress.phase(f"{self._system.name}: {what}", orders)


@asynccontextmanager
async def _broker(directory: Path) -> AsyncIterator[BrokerNode]:
    broker = BrokerNode(
        directory / "rabbitmq",
        log=directory / "rabbitmq.log",
        passwords=named_or_made([*users(TOPOLOGIES.values()), ADMINISTRATOR], RABBITMQ, {}),
    )
    try:
        await in_thread(broker.start)
        await in_thread(broker.wait_ready)
        yield broker
    finally:
        await in_thread(broker.kill)


def _cpu(parts: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Return the CPU seconds of each part so far; the client is this process."""
    return {**cpu_seconds(parts), CLIENT: time.process_time()}


def _since(before: Mapping[str, float], parts: Mapping[str, Sequence[int]]) -> dict[str, float]:
    return {part: seconds - before[part] for part, seconds in _cpu(parts).items()}


def _per_saga(counts: Mapping[str, Counter[str]], sagas: int) -> dict[str, Counts]:
    return {
        role: {name: count / sagas for name, count in sorted(found.items())} for role, found in counts.items()
    }


def _explain(error: BaseException) -> str:
    """Return an error in one line, and of a group the first one in it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
