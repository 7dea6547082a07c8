"""The order service and the clients of the HTTP API, played by the tests of the inventory service."""

from uuid import uuid4

from events.catalogue import (
    InventoryConfirmationRequested,
    InventoryReleaseRequested,
    InventoryReservationRequested,
    InventoryReserved,
)
from events.values import HeldLine, Item, Location
from tests.support.broker import Client, Neighbour
from tests.support.services import ServiceProcess

WAREHOUSES = [
    {"warehouseId": "berlin", "name": "Berlin", "location": {"latitude": 52.5, "longitude": 13.4}},
    {"warehouseId": "lisbon", "name": "Lisbon", "location": {"latitude": 38.7, "longitude": -9.1}},
]
NEAR_LISBON = Location(latitude=38.5, longitude=-9.0)
NEAR_BERLIN = Location(latitude=52.4, longitude=13.1)
HOLD_SECONDS = 7200
"""Longer than all tests take: only the holds of a test that says so expire."""


class InventoryDriver:
    """The order service, played by the tests, and the stock it orders from."""

    def __init__(self, service: ServiceProcess, client: Client, order: Neighbour) -> None:
        self.http = service.http
        self.publish_event = client.publish_event
        self.publish = client.publish
        self.get = client.get
        self.order = order
        self._put: dict[str, int] = {}

    def put_stock(self, **units: int) -> str:
        """Put units of a new product into these warehouses; return its id."""
        product = f"p-{uuid4().hex[:12]}"
        for warehouse, available in units.items():
            answer = self.http.put(f"/stock/{warehouse}/{product}", json={"available": available})
            assert answer.status_code == 200, answer.text
        self._put[product] = sum(units.values())
        return product

    def level(self, product: str, warehouse: str = "berlin") -> tuple[int, int, int]:
        """Return what is available, reserved and allocated."""
        rows = self.http.get("/stock", params={"productId": product, "warehouseId": warehouse}).json()[
            "stock"
        ]
        assert len(rows) == 1
        return rows[0]["available"], rows[0]["reserved"], rows[0]["allocated"]

    def status(self, order_id: str) -> str:
        """Return the status of a reservation."""
        return str(self.http.get(f"/reservations/{order_id}").json().get("status"))

    def check_books(self) -> None:
        """Check that no unit was created or lost."""
        for product, units in self._put.items():
            rows = self.http.get("/stock", params={"productId": product}).json()["stock"]
            counts = [row[name] for row in rows for name in ("available", "reserved", "allocated")]
            assert sum(counts) == units, rows
            assert min(counts, default=0) >= 0, rows

    async def hold(
        self, product: str, quantity: int = 1, order_id: str | None = None, **fields: object
    ) -> str:
        """Hold units for a new order; return its id."""
        asked = request(Item(product_id=product, quantity=quantity), order_id=order_id, **fields)
        await self.publish_event(asked)
        await self.order.receive_a(InventoryReserved, asked.order_id)
        return asked.order_id

    async def nothing_came(self) -> None:
        """Check that the service has published nothing that the test did not receive."""
        product = self.put_stock(berlin=1)
        await self.hold(product)


def request(*items: Item, order_id: str | None = None, **fields: object) -> InventoryReservationRequested:
    return InventoryReservationRequested.model_validate(
        {
            "order_id": order_id or uuid4().hex,
            "user_id": "u-1",
            "items": items,
            "total_amount": "25.00",
            **fields,
        }
    )


def confirmation(order_id: str, event_id: str | None = None) -> InventoryConfirmationRequested:
    return InventoryConfirmationRequested(order_id=order_id, event_id=event_id)


def release(order_id: str, event_id: str | None = None) -> InventoryReleaseRequested:
    return InventoryReleaseRequested(order_id=order_id, event_id=event_id, reason="declined")


def line(order_id: str, product: str, quantity: int, warehouse: str = "berlin") -> HeldLine:
    return HeldLine(reservation_id=order_id, product_id=product, warehouse_id=warehouse, quantity=quantity)


def body(product: str, quantity: int = 1, **fields: object) -> dict[str, object]:
    return {"userId": "u-1", "items": [{"productId": product, "quantity": quantity}], **fields}
