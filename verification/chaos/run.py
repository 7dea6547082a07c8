"""A chaos run: places orders while faults are injected, waits until everything rests, and audits it."""

import asyncio
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Protocol

from events.catalogue import SERVICES
from operations.broker_session import broker_session
from operations.client import SagaClient
from operations.sample_stock import put
from verification.audit.auditor import audit_at_rest
from verification.audit.reader import Databases, databases_at, reading
from verification.chaos.faults import Fault
from verification.chaos.report import ChaosReport
from verification.chaos.system_under_test import SystemUnderTest, system_under_test
from verification.chaos.workload import Workload, stock

CLIENT_TIMEOUT = 120.0
"""Seconds that clients go on trying after the last order is due."""
STALL_LIMIT = 600.0
"""Seconds without progress towards rest before a run gives up: a retry may wait 300."""
POLL_INTERVAL = 1.0
READY_SECONDS = 60.0


class Progress(Protocol):
    """Where a run reports its progress."""

    def phase(self, text: str) -> None:
        """Show what the run is doing."""

    def order_accepted(self) -> None:
        """Count an order."""

    def fault_injected(self) -> None:
        """Count a fault that the system has recovered from."""


async def run_chaos(
    directory: Path, orders: int, seconds: float, seed: int, faults: Sequence[Fault], progress: Progress
) -> ChaosReport:
    """Run a private system below a directory, and return what is wrong with it in the end.

    Raises:
        ProcessFailed: a part does not come up.
    """
    started = monotonic()
    async with system_under_test(directory, progress.phase) as system:
        endpoints = system.stack.endpoints
        databases = databases_at(system.database_urls)
        async with SagaClient(endpoints) as services:
            await services.ready(READY_SECONDS)
            await put(services, stock())
            workload = Workload(services, endpoints, orders, seconds, seed)
            progress.phase("placing orders and injecting faults")
            await _place_and_inject(system, workload, faults, progress)
            last_fault = monotonic()
            unfinished = await _wait_until_at_rest(databases, len(workload.accepted), progress)
            rest = monotonic() - last_fault
            progress.phase("auditing")
            audit = await asyncio.to_thread(audit_at_rest, databases, None, list(workload.accepted))
            dead_letters = await _dead_letters(system.broker_url)
            statuses = await asyncio.to_thread(_statuses, databases, workload.accepted)
    return ChaosReport(
        accepted=len(workload.accepted),
        statuses=statuses,
        injected=system.injected,
        planned=len(faults),
        audit=audit,
        dead_letters=dead_letters,
        failures=[*system.problems, *workload.refused, *unfinished],
        rest=rest,
        seconds=monotonic() - started,
    )


async def _place_and_inject(
    system: SystemUnderTest, workload: Workload, faults: Sequence[Fault], progress: Progress
) -> None:
    """Return when all orders are placed and all faults are over."""
    started = monotonic()

    async def inject(fault: Fault) -> None:
        await asyncio.sleep(started + fault.at - monotonic())
        await system.inject(fault)
        progress.fault_injected()

    watching = asyncio.create_task(system.watch())
    work = [asyncio.create_task(inject(fault)) for fault in faults]
    work.append(asyncio.create_task(workload.run(progress.order_accepted, CLIENT_TIMEOUT)))
    try:
        await asyncio.gather(*work)
    finally:
        for task in (*work, watching):
            task.cancel()
        await asyncio.gather(*work, watching, return_exceptions=True)


async def _wait_until_at_rest(databases: Databases, accepted: int, progress: Progress) -> list[str]:
    """Wait until everything is finished; return what is not once that has stopped getting less."""
    least, since = math.inf, monotonic()
    with reading(databases) as reader:
        while True:
            looked = monotonic()
            left = await asyncio.to_thread(reader.unfinished)
            left["orders not stored yet"] = max(0, accepted - await asyncio.to_thread(reader.orders))
            listed = ", ".join(f"{count} {name}" for name, count in left.items() if count)
            if not listed:
                return []
            if left.total() < least:
                least, since = left.total(), monotonic()
            elif monotonic() - since > STALL_LIMIT:
                return [f"not at rest, and no closer to it for {STALL_LIMIT:g} s: {listed}"]
            progress.phase(f"waiting for {listed}")
            # Each look costs the database time that the services need to come to rest.
            await asyncio.sleep(max(POLL_INTERVAL, 10 * (monotonic() - looked)))


async def _dead_letters(broker_url: str) -> dict[str, int]:
    """Return the number of dead letters of each service that has any."""
    queues = {f"{service}.dead": service for service in SERVICES}
    async with broker_session(broker_url) as session:
        depths = await session.depths(list(queues))
    return {queues[queue]: count for queue, count in depths.items() if count}


def _statuses(databases: Databases, accepted: Mapping[str, str]) -> dict[str, Counter[str]]:
    """Return how the accepted orders ended, by their profile."""
    statuses: dict[str, Counter[str]] = defaultdict(Counter)
    with reading(databases) as reader:
        for row in reader.some(accepted):
            order = row.case.order
            statuses[accepted[row.case.order_id]][order.state.status if order else "unknown"] += 1
    return dict(statuses)
