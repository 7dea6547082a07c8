"""Customers who place orders at a steady pace, each in a way of its own, and insist until they are heard."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from time import monotonic

from events.identity import new_id
from operations.client import Json, RequestFailed, Services
from operations.endpoints import Endpoints
from operations.errors import CommandFailed
from operations.sample_stock import WAREHOUSES, Level
from verification.scenarios.starts import publish_request

AGAIN = 0.5
"""Seconds until a customer who was not heard tries again."""
CANCEL_AFTER = 0.3
PLENTY = 100_000
SCARCE = 20
"""Units of what many want and few can have."""


@dataclass(frozen=True, slots=True)
class OrderProfile:
    """A way to order: how often in proportion, what, and what comes with it."""

    name: str
    weight: int
    items: tuple[Json, ...]
    options: Mapping[str, object] = field(default_factory=dict)
    cancelled: bool = False
    published_manually: bool = False


def _item(product: str, quantity: int, warehouse: str | None = None) -> Json:
    return {"productId": product, "quantity": quantity} | ({"warehouseId": warehouse} if warehouse else {})


WAYS = (
    OrderProfile("plain", 40, (_item("tea", 1),)),
    OrderProfile("two warehouses", 8, (_item("tea", 1, "berlin"), _item("tea", 2, "madrid"))),
    OrderProfile("out of stock", 6, (_item("tea", 4 * PLENTY),)),
    OrderProfile("scarce", 6, (_item("lamp", 1),)),
    OrderProfile("declined", 8, (_item("tea", 1), _item("coffee", 1)), {"paymentMethod": "sim:decline"}),
    OrderProfile("cancelled", 10, (_item("coffee", 1),), {"paymentMethod": "sim:delay:1.5"}, cancelled=True),
    OrderProfile("expiring", 6, (_item("coffee", 2),), {"paymentMethod": "sim:delay:3", "expiresIn": 2}),
    OrderProfile("slow provider", 4, (_item("tea", 1),), {"paymentMethod": "sim:delay:2"}),
    OrderProfile("silent provider", 2, (_item("tea", 1),), {"paymentMethod": "sim:timeout:1"}),
    OrderProfile("paid later", 4, (_item("tea", 1),), {"paymentMethod": "sim:pending:1.5"}),
    OrderProfile(
        "paid later, no notification",
        2,
        (_item("tea", 1),),
        {"paymentMethod": "sim:pending:1:no-notification"},
    ),
    OrderProfile("never paid", 2, (_item("coffee", 1),), {"paymentMethod": "sim:expire:1"}),
    OrderProfile(
        "cancelled unpaid", 3, (_item("tea", 2),), {"paymentMethod": "sim:pending:3600"}, cancelled=True
    ),
    OrderProfile(
        "refund refused",
        2,
        (_item("coffee", 1),),
        {"paymentMethod": "sim:delay:3:refuse-refund:1:pending-refund:1", "expiresIn": 2},
    ),
    OrderProfile("by hand", 10, (_item("coffee", 1),), published_manually=True),
)


def stock() -> list[Level]:
    """Return the stock that the orders draw on."""
    plenty = [(one["warehouseId"], product, PLENTY) for one in WAREHOUSES for product in ("tea", "coffee")]
    return [*plenty, ("berlin", "lamp", SCARCE)]


class Workload:
    """So many orders in so many seconds; which comes when in which way is drawn from the seed."""

    def __init__(self, services: Services, at: Endpoints, orders: int, seconds: float, seed: int) -> None:
        self.orders = orders
        self._services = services
        self._at = at
        self._seed = seed
        self._pause = seconds / orders
        dice = Random(f"{seed}/load")  # noqa: S311 (reproducible)
        self.ways = dice.choices(WAYS, [way.weight for way in WAYS], k=orders)
        self.accepted: dict[str, str] = {}
        """The way of each order that was accepted, by its id."""
        self.refused: list[str] = []

    async def run(self, accepted: Callable[[], None], patience: float) -> None:
        """Place all orders; return when each is accepted or refused, or `patience` seconds after the last."""
        started = monotonic()
        customers = []
        for number, way in enumerate(self.ways):
            await asyncio.sleep(started + number * self._pause - monotonic())
            customers.append(asyncio.create_task(self._customer(number, way, accepted)))
        done, waiting = await asyncio.wait(customers, timeout=patience)
        for customer in waiting:
            customer.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for customer in done:
            customer.result()
        self.refused += [f"a customer was not heard for {patience:g} s" for _ in waiting]

    async def _customer(self, number: int, way: OrderProfile, accepted: Callable[[], None]) -> None:
        key = f"chaos-{self._seed}-{number}"
        order_id = key if way.published_manually else new_id("order", key)
        body: Json = {"userId": "chaos", "items": list(way.items), "totalAmount": "12.50", **way.options}
        await _insist(lambda: self._heard(way, key, order_id, body))
        if order_id in self.accepted:
            accepted()
        if way.cancelled:
            await asyncio.sleep(CANCEL_AFTER)
            await _insist(lambda: self._cancelled(order_id))

    async def _heard(self, way: OrderProfile, key: str, order_id: str, body: Json) -> bool:
        try:
            if way.published_manually:
                await publish_request(self._at, {"orderId": order_id, **body})
            else:
                await self._services.place(body, key)
        except RequestFailed as error:
            if error.status >= 500:
                return False
            self.refused.append(f"{way.name}: {error}")
            return True
        except CommandFailed:
            return False
        self.accepted[order_id] = way.name
        return True

    async def _cancelled(self, order_id: str) -> bool:
        """Cancel an order while its payment is under way; it may be too late."""
        try:
            await self._services.cancel(order_id)
        except RequestFailed as error:
            return error.status < 500
        except CommandFailed:
            return False
        return True


async def _insist(heard: Callable[[], Awaitable[bool]]) -> None:
    while not await heard():  # noqa: ASYNC110 (nobody else would set an event)
        await asyncio.sleep(AGAIN)
