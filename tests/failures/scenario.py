"""A running system that failures are provoked in, and what must be true when they are over."""

import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from events.catalogue import PAYMENT, SERVICES, Event
from local_stack.process import Child, free_port
from local_stack.stack import SERVICE_STOP_LIMIT
from operations.event_tap import LAST_EVENTS
from operations.registry import SPECS
from tests.support.broker import until
from tests.support.statement import Statement
from tests.support.system import System, ended_all
from tests.support.tap import DurableTap

ROOT = Path(__file__).parents[2]
CONFIRMED = (
    "InventoryReservationRequested",
    "InventoryReserved",
    "PaymentRequested",
    "PaymentCompleted",
    "InventoryConfirmationRequested",
    "InventoryConfirmed",
    "OrderCreated",
)
"""The events of an order that is confirmed without detours."""


class FailureScenario:
    """A running system, the environment that its services were started with, and a tap on its events."""

    def __init__(self, system: System, env: Mapping[str, str], tap: DurableTap) -> None:
        self.system = system
        self.tap = tap
        self._env = env

    @asynccontextmanager
    async def with_failpoint(self, service: str, **env: str) -> AsyncIterator[Child]:
        """Run a process with failpoints (see `tests.support.failpoints`) in place of a service, and in the
        end the service itself again."""
        self.system.stack.service(service).kill()
        stand_in = self._child(service, "tests.support.failpoints", service, **env)
        stand_in.start()
        try:
            await self.ready(service, stand_in)
            yield stand_in
        finally:
            stand_in.kill()
            await self.bring_back(service)

    @asynccontextmanager
    async def replica(self, service: str) -> AsyncIterator[Child]:
        """Run a second replica of a service next to the first; it need not be ready yet."""
        replica = self._child(service, service, **{SPECS[service].port_variable: str(free_port())})
        replica.start()
        try:
            yield replica
        finally:
            replica.stop(SERVICE_STOP_LIMIT)

    async def bring_back(self, service: str) -> None:
        """Start a service that has ended, and wait until it is ready."""
        child = self.system.stack.service(service)
        if not child.alive:
            child.start()
        await self.ready(service, child)

    async def ready(self, service: str, child: Child | None = None, limit: float = 60) -> None:
        """Wait until a service reports that it is ready: it reads its queues and can publish."""
        url = self.system.at.of(service) + "/readyz"

        async def says_so() -> bool:
            assert child is None or child.alive, child.describe_end()
            return (await self.system.get(url)).get("status") == "ready"

        await until(says_so, f"{service} is ready", limit)

    async def in_progress(self, order_ids: Sequence[str]) -> None:
        """Wait until the stock of all these orders is held, while some still wait for their payment."""

        async def held() -> bool:
            newest = (await self.system.get(f"{self.system.at.order}/orders?limit=100")).get("orders", ())
            status = {order["orderId"]: order["status"] for order in newest}
            mine = {status.get(order_id, "pending") for order_id in order_ids}
            return "pending" not in mine and "reserved" in mine

        await until(held, "the orders are in progress", limit=60)

    async def check_all_work(self) -> None:
        """Check that every service is ready, reads its queues, and that a new order ends."""
        for service in SERVICES:
            await self.ready(service)
        product = await self.system.stock(north=1)
        order = await self.system.ended(await self.system.place_with_retries(product))
        assert order["status"] == "confirmed", order

    async def check_all_confirmed(self, order_ids: Sequence[str], product: str, limit: float = 120) -> None:
        """Check that every order is confirmed, from one warehouse each, and that the books balance."""
        orders = await ended_all(self.system, order_ids, limit)
        assert [order["status"] for order in orders] == ["confirmed"] * len(order_ids)
        levels = (await self.system.levels(product)).values()
        assert sum(allocated for _, _, allocated in levels) == len(order_ids)
        await self.check_books(order_ids, product)
        statement = self._statement()
        assert {key: statement.charges(key) for key in order_ids} == {
            key: {f"order-{key}"} for key in order_ids
        }

    async def check_books(self, order_ids: Sequence[str], product: str) -> None:
        """The audit finds nothing wrong with these orders, which alone have ordered this product; the money
        kept is what was sold, the provider has moved none of it twice, and no message was dead-lettered."""
        report = await self.system.audited(order_ids, product)
        assert report.broken == {}, report.violations
        assert report.judged == len(order_ids)
        kept, sold = await self.system.money()
        assert kept == sold
        statement = self._statement()
        for order_id in order_ids:
            assert len(statement.charges(order_id)) <= 1, statement.charges(order_id)
            assert len(statement.refunds(order_id)) <= 1, statement.refunds(order_id)
        assert await self.system.dead_letters() == {}

    async def published_once(self, order_ids: Sequence[str], events: Sequence[str] = CONFIRMED) -> None:
        """Check that the tap has seen exactly these events of each order; copies of an event are equal."""
        for order_id in order_ids:
            events_of = await self.tap.events_of(order_id, events)
            once = {event.event_id: event for event in events_of}
            assert sorted(event.type for event in once.values()) == sorted(events), _names(events_of)
            assert all(event == once[event.event_id] for event in events_of), _names(events_of)

    async def check_ended_once(self, order_ids: Sequence[str]) -> None:
        """Check that the tap has seen one end of each order."""
        for order_id in order_ids:
            events_of = await self.tap.events_of(order_id)
            ends = {event.event_id for event in events_of if event.type in LAST_EVENTS}
            assert len(ends) == 1, _names(events_of)

    def _statement(self) -> Statement:
        return Statement((self.system.stack.logs_dir / f"{PAYMENT}.log").read_text())

    def _child(self, service: str, *program: str, **env: str) -> Child:
        return Child(
            f"another {service}",
            [sys.executable, "-m", *program],
            env={**os.environ, **self._env, "PYTHONPATH": str(ROOT), **env},
            log=self.system.stack.logs_dir / f"{service}.log",
        )


def _names(events_of: Sequence[Event]) -> list[tuple[str, str | None]]:
    return [(event.type, event.event_id) for event in events_of]
