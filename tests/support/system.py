"""The whole system, seen from outside: its HTTP APIs and its broker."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any, Protocol
from urllib.parse import quote
from uuid import uuid4

import httpx

from events.catalogue import SERVICES
from local_stack.process import free_port
from local_stack.stack import Stack
from operations.client import SagaClient
from operations.endpoints import Endpoints, broker_login
from operations.manual_publishing import publish_manually
from operations.registry import SPECS
from order_service.order import TERMINAL
from tests.support.broker import until
from verification.audit.auditor import audit, audit_at_rest
from verification.audit.reader import DatabaseAddress, Databases, Scope
from verification.audit.report import AuditReport

WAREHOUSES = {"north": (60.0, 10.0), "south": (40.0, 10.0)}


class Part(Protocol):
    """A broker, a database or a service, as a process or as a container."""

    def kill(self) -> None: ...
    def start(self) -> None: ...


class Whole(Protocol):
    """All parts together: `Stack` for processes, `ContainerStack` for containers."""

    @property
    def endpoints(self) -> Endpoints: ...
    def start(self) -> Endpoints: ...
    def stop(self) -> None: ...
    def service(self, name: str) -> Part: ...
    def start_service(self, name: str) -> None: ...


class System:
    """A running system and what a test does with it."""

    def __init__(
        self,
        whole: Whole,
        http: httpx.AsyncClient,
        services: SagaClient,
        settings: Mapping[str, str],
    ) -> None:
        self.whole = whole
        self.services = services
        self._databases = Databases(
            *(
                DatabaseAddress(whole.endpoints.mongodb_of(name), settings[f"{spec.env_prefix}DATABASE"])
                for name, spec in SPECS.items()
            )
        )
        self.settings = settings
        self._http = http

    @property
    def stack(self) -> Stack:
        """The processes, of a system that runs as such."""
        assert isinstance(self.whole, Stack)
        return self.whole

    @property
    def at(self) -> Endpoints:
        """Where everything is."""
        return self.whole.endpoints

    async def stock(self, **units: int) -> str:
        """Bring a new product into the warehouses named; return its id."""
        product = f"p-{uuid4().hex[:12]}"
        warehouses = [
            {"warehouseId": name, "location": {"latitude": latitude, "longitude": longitude}}
            for name, (latitude, longitude) in WAREHOUSES.items()
        ]
        await self.put(f"{self.at.inventory}/warehouses", {"warehouses": warehouses})
        for warehouse, available in units.items():
            await self.put(f"{self.at.inventory}/stock/{warehouse}/{product}", {"available": available})
        return product

    async def place(self, product: str, quantity: int = 1, **fields: Any) -> str:
        """Place an order over HTTP; return its id."""
        body = order(product, quantity, fields)
        answer = await self._http.post(f"{self.at.order}/orders", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["orderId"])

    async def place_with_retries(
        self, product: str, quantity: int = 1, limit: float = 60, **fields: Any
    ) -> str:
        """Place an order, and retry with the same idempotency key until the order service accepts it."""
        body = order(product, quantity, fields)
        headers = {"Idempotency-Key": uuid4().hex}
        async with asyncio.timeout(limit):
            while True:
                with suppress(httpx.TransportError):
                    answer = await self._http.post(f"{self.at.order}/orders", json=body, headers=headers)
                    if answer.status_code == 202:
                        return str(answer.json()["orderId"])
                    assert answer.status_code == 503, answer.text
                await asyncio.sleep(0.2)

    async def ended(self, order_id: str, limit: float = 60) -> dict[str, Any]:
        """Return an order that has ended; wait for that."""
        async with asyncio.timeout(limit):
            while True:
                order = await self.get(f"{self.at.order}/orders/{order_id}?wait=20")
                if order.get("status") in TERMINAL:
                    return order

    async def until_status(self, order_id: str, *statuses: str, limit: float = 60) -> dict[str, Any]:
        """Wait until an order has one of these statuses."""
        async with asyncio.timeout(limit):
            while True:
                order = await self.get(f"{self.at.order}/orders/{order_id}")
                if order.get("status") in statuses:
                    return order
                await asyncio.sleep(0.05)

    async def payment(self, order_id: str) -> dict[str, Any]:
        """Return what the payment service knows of an order."""
        return await self.get(f"{self.at.payment}/payments/{order_id}")

    async def levels(self, product: str) -> dict[str, tuple[int, int, int]]:
        """Return available, reserved and allocated units by warehouse."""
        stock = await self.get(f"{self.at.inventory}/stock?productId={product}")
        return {
            level["warehouseId"]: (level["available"], level["reserved"], level["allocated"])
            for level in stock["stock"]
        }

    async def money(self) -> tuple[Decimal, Decimal]:
        """Return what was charged and not refunded, and what the confirmed orders cost."""
        payments = (await self.get(f"{self.at.payment}/books"))["books"]
        orders = (await self.get(f"{self.at.order}/books"))["books"]
        kept = sum((Decimal(book["charged"]) - Decimal(book["refunded"]) for book in payments), Decimal(0))
        return kept, sum((Decimal(book["confirmed"]) for book in orders), Decimal(0))

    async def audited(self, order_ids: Collection[str], product: str) -> AuditReport:
        """Return what the audit says of these orders, which alone have ordered this product, at rest."""
        return await asyncio.to_thread(audit_at_rest, self._databases, Scope(order_ids, [product]))

    async def audited_running(self) -> AuditReport:
        """Return what the audit says of everything, while it may be moving."""
        return await asyncio.to_thread(audit, self._databases, settled_for=timedelta(seconds=1))

    async def publish_manually(self, payload: str, exchange: str = "order.events") -> None:
        """Publish as the management UI does: a routing key and a payload, nothing else."""
        await publish_manually(self.at, exchange, "InventoryReservationRequested", payload)

    async def dead_letters(self) -> dict[str, int]:
        """Return how many messages each dead-letter queue holds, as far as it holds any."""
        found = {}
        login = broker_login(self.at.rabbitmq)
        queues = f"{self.at.management}/api/queues/{quote(login.vhost, safe='')}"
        for service in SERVICES:
            answer = await self._http.post(
                f"{queues}/{service}.dead/get",
                auth=(login.user, login.password),
                json={"count": 100, "ackmode": "ack_requeue_true", "encoding": "auto"},
            )
            if letters := answer.json():
                found[service] = len(letters)
        return found

    async def post(self, url: str, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        """Send a POST, an empty one without a body."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._http.post(url, json=body, headers=named)

    async def get(self, url: str) -> dict[str, Any]:
        """Return what a URL answers, an empty object while its service is down."""
        try:
            answer = await self._http.get(url)
        except httpx.TransportError:
            await asyncio.sleep(0.1)
            return {}
        return dict(answer.json())

    async def put(self, url: str, body: dict[str, Any]) -> None:
        """Put, and see that it was accepted."""
        (await self._http.put(url, json=body)).raise_for_status()


def order(product: str, quantity: int, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body that places an order."""
    return {
        "userId": "u-1",
        "items": [{"productId": product, "quantity": quantity}],
        "totalAmount": "12.50",
        **fields,
    }


def fresh_settings() -> dict[str, str]:
    """Return free ports, and names of new databases, as settings of the three services."""
    settings = {}
    for service in ("ORDER", "INVENTORY", "PAYMENT"):
        settings[f"{service}_PORT"] = str(free_port())
        settings[f"{service}_DATABASE"] = f"{service.lower()}_{uuid4().hex[:12]}"
    return settings


@asynccontextmanager
async def running(
    stack: Whole, settings: Mapping[str, str], token: str | None = None
) -> AsyncIterator[System]:
    """Start a stack, whose databases have the names in `settings`, and stop it at the end."""
    try:
        await asyncio.to_thread(stack.start)
        # A connection for each request: one that is kept may go down with what it leads to.
        limits = httpx.Limits(max_keepalive_connections=0)
        transport = httpx.AsyncHTTPTransport(limits=limits, trust_env=False)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with (
            httpx.AsyncClient(timeout=60, limits=limits, headers=headers, trust_env=False) as http,
            SagaClient(stack.endpoints, transport, token or "") as services,
        ):
            yield System(stack, http, services, settings)
    finally:
        await asyncio.to_thread(stack.stop)


async def ended_all(system: System, order_ids: Sequence[str], limit: float = 120) -> list[dict[str, Any]]:
    """Return many orders when all of them have ended."""
    return list(await asyncio.gather(*(system.ended(order_id, limit) for order_id in order_ids)))


async def place_many(system: System, product: str, orders: int) -> list[str]:
    """Place orders of one unit each, whose payments take up to 3 s, so that some are not done yet."""
    delays = (3 * number / orders for number in range(orders))
    placing = (system.place(product, paymentMethod=f"sim:delay:{delay:.2f}") for delay in delays)
    return list(await asyncio.gather(*placing))


async def in_progress(system: System, product: str, orders: int) -> None:
    """Wait until some of the orders, of one unit of the product each, are confirmed, but not all."""

    async def some_but_not_all() -> bool:
        return 0 < sum(level[2] for level in (await system.levels(product)).values()) < orders

    await until(some_but_not_all, "the orders are in progress", limit=60)


async def check_all_confirmed(system: System, product: str, order_ids: Sequence[str], stocked: int) -> None:
    """Check that every order, of one unit each, ends confirmed; the books and the audit are the judges."""
    orders = await ended_all(system, order_ids)
    assert [order["status"] for order in orders] == ["confirmed"] * len(order_ids)
    levels = (await system.levels(product)).values()
    totals = tuple(map(sum, zip(*levels, strict=True)))
    assert totals == (stocked - len(order_ids), 0, len(order_ids)), f"the stock is {totals}"
    kept, sold = await system.money()
    assert kept == sold
    report = await system.audited(order_ids, product)
    assert (report.broken, report.judged) == ({}, len(order_ids))
