"""The order service, played by the tests of the payment service."""

from decimal import Decimal
from uuid import uuid4

from events.catalogue import ORDER, PAYMENT, Event, PaymentCompleted, PaymentRefundRequested, PaymentRequested
from tests.support.broker import Client, Neighbour, until
from tests.support.services import TOPOLOGIES, ServiceProcess
from tests.support.statement import Statement

PRICE = Decimal("25.00")


class PaymentDriver:
    """The order service, and what it sees of the payments."""

    def __init__(self, service: ServiceProcess, client: Client, order: Neighbour) -> None:
        self._service = service
        self.http = service.http
        self.publish_event = client.publish_event
        self.publish = client.publish
        self.get = client.get
        self.depth = client.depth
        self.order = order
        self.once = True
        """Whether the test fails if the service publishes an event twice."""
        self._client = client

    def payment(self, order_id: str) -> dict[str, object]:
        """Return what callers see of a payment."""
        payment: dict[str, object] = self.http.get(f"/payments/{order_id}").json()
        return payment

    def books(self, currency: str) -> tuple[str, str]:
        """Return the sums charged and refunded in a currency, as they are written."""
        rows = {row["currency"]: row for row in self.http.get("/books").json()["books"]}
        row = rows.get(currency, {"charged": "0.00", "refunded": "0.00"})
        return row["charged"], row["refunded"]

    @property
    def statement(self) -> Statement:
        """What the provider says it has done."""
        return Statement(self._service.log)

    def settled(self, kind: type[Event]) -> float:
        """Return how many messages of a type the service has handled."""
        return sum(
            float(row.rpartition(" ")[2])
            for row in self.http.get("/metrics").text.splitlines()
            if row.startswith("saga_events_total") and f'type="{kind.__name__}"' in row
        )

    async def charge(
        self, method: str | None = None, order_id: str | None = None, amount: object = PRICE, **fields: object
    ) -> str:
        """Charge an order; return its id."""
        asked = request(method, order_id, amount, **fields)
        await self.publish_event(asked)
        await self.order.receive_a(PaymentCompleted, asked.order_id)
        return asked.order_id

    async def until_it_is(self, order_id: str, status: str) -> None:
        """Wait until a payment has a status."""
        await until(lambda: self.payment(order_id).get("status") == status, f"{order_id} is {status}")

    async def close_order(self) -> None:
        """Delete the order service's queue, so that no event can be published for it."""
        await self._client.channel.queue_delete(ORDER)

    async def open_order(self) -> None:
        """Declare its queue again."""
        self.order = await self._client.stand_in_for(TOPOLOGIES[ORDER])
        await self.order.bind(only_to=TOPOLOGIES[PAYMENT].exchange)

    async def receive_each(self, count: int) -> dict[str, Event]:
        """Return the next events of so many orders, one for each; it may be repeated only if not `once`."""
        by_order: dict[str, Event] = {}
        while len(by_order) < count:
            event = await self.order.receive()
            assert event.order_id not in by_order or not self.once, event
            assert by_order.setdefault(event.order_id, event) == event
        return by_order

    async def nothing_came(self) -> None:
        """Check that the service has published nothing that the test did not receive."""
        await self.charge(currency="XTS")


def request(
    method: str | None = None, order_id: str | None = None, amount: object = PRICE, **fields: object
) -> PaymentRequested:
    order_id = order_id or uuid4().hex
    return PaymentRequested.model_validate(
        {
            "order_id": order_id,
            "user_id": "u-1",
            "amount": amount,
            "currency": "USD",
            "idempotency_key": f"order-{order_id}",
            "payment_method": method,
            **fields,
        }
    )


def refund(order_id: str, event_id: str | None = None, currency: str = "USD") -> PaymentRefundRequested:
    return PaymentRefundRequested(
        order_id=order_id, event_id=event_id, amount=PRICE, currency=currency, reason="cancelled"
    )
