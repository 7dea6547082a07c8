"""Clients that place orders at a steady rate, each with a profile, and try again until they get an answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from time import monotonic

from events.identity import new_id
from operations.client import Json, RequestFailed, SagaClient
from operations.endpoints import Endpoints
from operations.errors import CommandFailed
from operations.sample_stock import WAREHOUSES, InitialLevel
from verification.scenarios.starts import publish_request

RETRY_PAUSE = 0.5
"""Seconds until a client without an answer tries again."""
CANCEL_AFTER = 0.3
PLENTY = 100_000
SCARCE = 20
"""Units of a product that more clients order than can have it."""


@dataclass(frozen=True, slots=True)
class OrderProfile:
    """A kind of order: its share of all orders, its items, its options and how it is placed."""

    name: str
    weight: int
    items: tuple[Json, ...]
    options: Mapping[str, object] = field(default_factory=dict)
    cancelled: bool = False
    published_manually: bool = False


def _item(product: str, quantity: int, warehouse: str | None = None) -> Json:
    return {"productId": product, "quantity": quantity} | ({"warehouseId": warehouse} if warehouse else {})


PROFILES = (
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
    OrderProfile("published manually", 10, (_item("coffee", 1),), published_manually=True),
)


def stock() -> list[InitialLevel]:
    """Return the stock that the orders draw on."""
    plenty = [(one["warehouseId"], product, PLENTY) for one in WAREHOUSES for product in ("tea", "coffee")]
    return [*plenty, ("berlin", "lamp", SCARCE)]


class Workload:
    """Orders spread over some seconds; the seed decides the profile of each."""

    def __init__(
        self, services: SagaClient, endpoints: Endpoints, orders: int, seconds: float, seed: int
    ) -> None:
        self.orders = orders
        self._services = services
        self._endpoints = endpoints
        self._seed = seed
        self._pause = seconds / orders
        dice = Random(f"{seed}/load")  # noqa: S311 (reproducible)
        self.profiles = dice.choices(PROFILES, [profile.weight for profile in PROFILES], k=orders)
        self.accepted: dict[str, str] = {}
        """The profile of each order that was accepted, by order id."""
        self.refused: list[str] = []

    async def run(self, accepted: Callable[[], None], timeout: float) -> None:
        """Place all orders; return when each is accepted or refused, or `timeout` seconds after the last."""
        started = monotonic()
        clients = []
        for number, profile in enumerate(self.profiles):
            await asyncio.sleep(started + number * self._pause - monotonic())
            clients.append(asyncio.create_task(self._client(number, profile, accepted)))
        done, waiting = await asyncio.wait(clients, timeout=timeout)
        for client in waiting:
            client.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for client in done:
            client.result()
        self.refused += [f"a client got no answer for {timeout:g} s" for _ in waiting]

    async def _client(self, number: int, profile: OrderProfile, accepted: Callable[[], None]) -> None:
        key = f"chaos-{self._seed}-{number}"
        order_id = key if profile.published_manually else new_id("order", key)
        body: Json = {
            "userId": "chaos",
            "items": list(profile.items),
            "totalAmount": "12.50",
            **profile.options,
        }
        await _try_until_answered(lambda: self._place(profile, key, order_id, body))
        if order_id in self.accepted:
            accepted()
        if profile.cancelled:
            await asyncio.sleep(CANCEL_AFTER)
            await _try_until_answered(lambda: self._cancel(order_id))

    async def _place(self, profile: OrderProfile, key: str, order_id: str, body: Json) -> bool:
        try:
            if profile.published_manually:
                await publish_request(self._endpoints, {"orderId": order_id, **body})
            else:
                await self._services.place(body, key)
        except RequestFailed as error:
            if error.status >= 500:
                return False
            self.refused.append(f"{profile.name}: {error}")
            return True
        except CommandFailed:
            return False
        self.accepted[order_id] = profile.name
        return True

    async def _cancel(self, order_id: str) -> bool:
        """Cancel an order while its payment is in progress; it may be too late."""
        try:
            await self._services.cancel(order_id)
        except RequestFailed as error:
            return error.status < 500
        except CommandFailed:
            return False
        return True


async def _try_until_answered(attempt: Callable[[], Awaitable[bool]]) -> None:
    while not await attempt():  # noqa: ASYNC110 (no event announces an answer)
        await asyncio.sleep(RETRY_PAUSE)
