"""The order service, played by a test, and the dead letters of inventory."""

from typing import TypeVar
from uuid import uuid4

from events.catalogue import (
    INVENTORY,
    Event,
    InventoryConfirmationRequested,
    InventoryReservationRequested,
    InventoryReserved,
)
from events.identity import with_defaults
from events.values import Item
from operations.dead_letters.dead_letter import DeadLetter
from operations.dead_letters.queue import DeadLetterQueue
from operations.errors import CommandFailed
from saga.clock import utc_now
from tests.support.broker import Client, Neighbour
from tests.support.dead_letters import (
    dead_letter,
    until_dead,
)
from tests.support.services import TOPOLOGIES, ServiceProcess

SERVICE = TOPOLOGIES[INVENTORY]
DATABASE = f"inventory_{uuid4().hex[:12]}"
E = TypeVar("E", bound=Event)
KEY = "InventoryConfirmationRequested"


class DeadLetterDriver:
    """The order service, played by the test, and inventory's dead letters."""

    def __init__(self, service: ServiceProcess, client: Client, order: Neighbour) -> None:
        self.http = service.http
        self.client = client
        self.order = order

    def shelve(self, units: int) -> str:
        """Put units of a new product into a warehouse; return its id."""
        product = f"p-{uuid4().hex[:12]}"
        self.http.put(f"/stock/berlin/{product}", json={"available": units}).raise_for_status()
        return product

    def level(self, product: str) -> tuple[int, int, int]:
        """Return what is available, reserved and allocated."""
        (row,) = self.http.get("/stock", params={"productId": product}).json()["stock"]
        return row["available"], row["reserved"], row["allocated"]

    async def hold(self, product: str) -> str:
        """Have a unit held for a new order; return its id."""
        asked = request(product)
        await self.client.publish_event(asked)
        await self.order.receive_a(InventoryReserved, asked.order_id)
        return asked.order_id

    async def dead_letter(self, event: Event, reason: str = "out of attempts: for a test") -> str:
        """Dead-letter an event as the service does; return its message id."""
        return await dead_letter(self.client, SERVICE, event, reason)

    async def dead(self, count: int) -> None:
        """Wait until the service has so many dead letters."""
        await until_dead(self.client, SERVICE, count)


def request(product: str, order_id: str | None = None) -> InventoryReservationRequested:
    return complete(
        InventoryReservationRequested(
            order_id=order_id or uuid4().hex,
            user_id="u-1",
            items=(Item(product_id=product, quantity=1),),
            total_amount="25.00",
        )
    )


def confirmation(order_id: str) -> InventoryConfirmationRequested:
    return complete(InventoryConfirmationRequested(order_id=order_id))


def complete(event: E) -> E:
    return with_defaults(event, utc_now())


def counted(inventory: DeadLetterDriver, since: dict[str, int] | None = None) -> dict[str, int]:
    """Return how many messages had which outcome, in all or since an earlier count."""
    counts: dict[str, int] = {}
    for row in inventory.http.get("/metrics").text.splitlines():
        if row.startswith("saga_events_total"):
            outcome = row.partition('outcome="')[2].partition('"')[0]
            counts[outcome] = counts.get(outcome, 0) + round(float(row.rpartition(" ")[2]))
    earlier = since or {}
    changed = {name: count - earlier.get(name, 0) for name, count in counts.items()}
    return {name: count for name, count in changed.items() if count}


async def crash(queue: DeadLetterQueue, letter: DeadLetter) -> None:
    raise CommandFailed("killed")
