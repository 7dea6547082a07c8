"""The inventory service on a real broker and database, with order absent: events in, events and stock out."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from events.catalogue import (
    INVENTORY,
    ORDER,
    PAYMENT,
    Event,
    InventoryConfirmationFailed,
    InventoryConfirmationRequested,
    InventoryConfirmed,
    InventoryReleased,
    InventoryReleaseRequested,
    InventoryReservationExpired,
    InventoryReservationFailed,
    InventoryReservationRequested,
    InventoryReserved,
)
from events.values import HeldLine, Item, Location, Shortage
from local_stack.mongodb_node import DatabaseNode
from saga.clock import utc_now
from tests.support.broker import Broker, Client, Neighbour, until
from tests.support.services import Alone, alone, check_problem, database_server, stand_in_for_others

WAREHOUSES = [
    {"warehouseId": "berlin", "name": "Berlin", "location": {"latitude": 52.5, "longitude": 13.4}},
    {"warehouseId": "lisbon", "name": "Lisbon", "location": {"latitude": 38.7, "longitude": -9.1}},
]
NEAR_LISBON = Location(latitude=38.5, longitude=-9.0)
NEAR_BERLIN = Location(latitude=52.4, longitude=13.1)
HOLD_SECONDS = 90


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseNode]:
    """A database server of this module's own, so that a test may end it."""
    with database_server(tmp_path_factory.mktemp("mongodb")) as node:
        yield node


@pytest.fixture(scope="module")
def service(
    module_broker: Broker, database: DatabaseNode, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Alone]:
    directory = tmp_path_factory.mktemp("inventory")
    settings = {"hold_seconds": str(HOLD_SECONDS), "sweep_every": "0.1"}
    with alone(INVENTORY, module_broker.url, database.url, directory, **settings) as service:
        yield service


class MerchantSettings:
    """The order service, played by the test, and the shelves it orders from."""

    def __init__(self, service: Alone, client: Client, order: Neighbour) -> None:
        self.http = service.http
        self.tell = client.tell
        self.publish = client.publish
        self.get = client.get
        self.order = order
        self._put: dict[str, int] = {}

    def shelve(self, **units: int) -> str:
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
        """Whatever happened, no unit came into being or got lost."""
        for product, units in self._put.items():
            rows = self.http.get("/stock", params={"productId": product}).json()["stock"]
            counts = [row[name] for row in rows for name in ("available", "reserved", "allocated")]
            assert sum(counts) == units, rows
            assert min(counts, default=0) >= 0, rows

    async def hold(
        self, product: str, quantity: int = 1, order_id: str | None = None, **fields: object
    ) -> str:
        """Have units held for a new order; return its id."""
        asked = request(Item(product_id=product, quantity=quantity), order_id=order_id, **fields)
        await self.tell(asked)
        await self.order.receive_a(InventoryReserved, asked.order_id)
        return asked.order_id

    async def nothing_came(self) -> None:
        """Check that what was done so far has published nothing that was not received."""
        product = self.shelve(berlin=1)
        await self.hold(product)


@pytest.fixture
async def shop(module_broker: Broker, service: Alone) -> AsyncIterator[MerchantSettings]:
    async with module_broker.connected() as client:
        neighbours = await stand_in_for_others(client, INVENTORY)
        service.wait_ready()
        service.http.put("/warehouses", json={"warehouses": WAREHOUSES}).raise_for_status()
        shop = MerchantSettings(service, client, neighbours[ORDER])
        yield shop
        shop.check_books()
        for queue in (ORDER, PAYMENT):
            assert await client.depth(queue) == 0, f"an event for {queue} that the test did not expect"


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


# Events in, events out


async def test_stock_is_held(shop: MerchantSettings) -> None:
    tea, cup = shop.shelve(berlin=10), shop.shelve(berlin=3)
    asked = request(
        Item(product_id=tea, quantity=2),
        Item(product_id=cup, quantity=3),
        event_id=uuid4().hex,
        correlation_id="saga-of-another-name",
        currency="EUR",
        payment_method="sim:approve",
    )
    before = utc_now()
    await shop.tell(asked)
    held = await shop.order.receive_a(InventoryReserved, asked.order_id)
    assert held.causation_id == asked.event_id
    assert held.correlation_id == "saga-of-another-name"
    assert (held.user_id, held.items, held.payment_method) == ("u-1", asked.items, "sim:approve")
    assert (held.total_amount, held.currency) == (Decimal("25.00"), "EUR")
    assert set(held.reservations) == {line(asked.order_id, tea, 2), line(asked.order_id, cup, 3)}
    assert before <= held.expires_at - timedelta(seconds=HOLD_SECONDS) <= utc_now()
    assert shop.level(tea) == (8, 2, 0)
    assert shop.level(cup) == (0, 3, 0)
    seen = shop.http.get(f"/reservations/{asked.order_id}").json()
    assert (seen["status"], seen["saga"], seen["totalAmount"]) == ("held", True, "25.00")
    assert len(seen["lines"]) == 2


async def test_an_order_says_how_long_its_hold_lasts(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=1)
    asked = request(Item(product_id=tea, quantity=1), expires_in=3600)
    before = utc_now()
    await shop.tell(asked)
    held = await shop.order.receive_a(InventoryReserved, asked.order_id)
    assert before <= held.expires_at - timedelta(seconds=3600) <= utc_now()


async def test_without_enough_stock_the_shortages_are_named(
    shop: MerchantSettings,
) -> None:
    tea, cup = shop.shelve(berlin=10), shop.shelve(berlin=1, lisbon=1)
    asked = request(Item(product_id=tea, quantity=2), Item(product_id=cup, quantity=3))
    await shop.tell(asked)
    failed = await shop.order.receive_a(InventoryReservationFailed, asked.order_id)
    assert failed.reason == "insufficient_stock"
    assert failed.shortages == (Shortage(product_id=cup, requested=3, available=2),)
    assert (failed.user_id, failed.items, failed.total_amount) == ("u-1", asked.items, Decimal("25.00"))
    assert shop.level(tea) == (10, 0, 0)
    assert shop.level(cup) == (1, 0, 0)
    assert shop.status(asked.order_id) == "rejected"


async def test_an_unknown_product_is_refused(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=10)
    asked = request(Item(product_id=tea, quantity=2), Item(product_id="unknown-id", quantity=1))
    await shop.tell(asked)
    failed = await shop.order.receive_a(InventoryReservationFailed, asked.order_id)
    assert failed.reason == "unknown_product"
    assert failed.shortages == (Shortage(product_id="unknown-id", requested=1, available=0),)
    assert shop.level(tea) == (10, 0, 0)


async def test_an_unknown_warehouse_is_refused(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=10)
    asked = request(Item(product_id=tea, quantity=2, warehouse_id="atlantis"))
    await shop.tell(asked)
    failed = await shop.order.receive_a(InventoryReservationFailed, asked.order_id)
    assert failed.reason == "unknown_warehouse"
    assert shop.level(tea) == (10, 0, 0)


async def test_a_line_with_a_warehouse_is_taken_from_there_only(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=10, lisbon=2)
    asked = request(Item(product_id=tea, quantity=2, warehouse_id="lisbon"), user_location=NEAR_BERLIN)
    await shop.tell(asked)
    held = await shop.order.receive_a(InventoryReserved, asked.order_id)
    assert held.reservations == (line(asked.order_id, tea, 2, "lisbon"),)
    more = request(Item(product_id=tea, quantity=1, warehouse_id="lisbon"))
    await shop.tell(more)
    failed = await shop.order.receive_a(InventoryReservationFailed, more.order_id)
    assert failed.shortages == (Shortage(product_id=tea, requested=1, available=0),)
    assert shop.level(tea) == (10, 0, 0)


async def test_an_order_too_large_for_one_warehouse_is_held_at_two(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=4, lisbon=3)
    asked = request(Item(product_id=tea, quantity=6))
    await shop.tell(asked)
    held = await shop.order.receive_a(InventoryReserved, asked.order_id)
    assert set(held.reservations) == {
        line(asked.order_id, tea, 4, "berlin"),
        line(asked.order_id, tea, 2, "lisbon"),
    }
    await shop.tell(confirmation(asked.order_id))
    confirmed = await shop.order.receive_a(InventoryConfirmed, asked.order_id)
    assert set(confirmed.reservations) == set(held.reservations)
    assert (shop.level(tea, "berlin"), shop.level(tea, "lisbon")) == ((0, 0, 4), (1, 0, 2))


@pytest.mark.parametrize(("near", "warehouse"), [(NEAR_LISBON, "lisbon"), (NEAR_BERLIN, "berlin")])
async def test_the_nearest_warehouse_is_drawn_on_first(
    shop: MerchantSettings, near: Location, warehouse: str
) -> None:
    other = "lisbon" if warehouse == "berlin" else "berlin"
    tea = shop.shelve(**{warehouse: 2, other: 100})
    asked = request(Item(product_id=tea, quantity=2), user_location=near)
    await shop.tell(asked)
    held = await shop.order.receive_a(InventoryReserved, asked.order_id)
    assert held.reservations == (line(asked.order_id, tea, 2, warehouse),)


async def test_a_hold_becomes_an_allocation(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=10)
    order_id = await shop.hold(tea, 2)
    await shop.tell(confirmation(order_id))
    confirmed = await shop.order.receive_a(InventoryConfirmed, order_id)
    assert confirmed.reservations == (line(order_id, tea, 2),)
    assert shop.level(tea) == (8, 0, 2)
    assert shop.status(order_id) == "allocated"


async def test_a_release_gives_the_stock_back(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=10)
    order_id = await shop.hold(tea, 2)
    await shop.tell(release(order_id))
    released = await shop.order.receive_a(InventoryReleased, order_id)
    assert released.reservations == (line(order_id, tea, 2),)
    assert shop.level(tea) == (10, 0, 0)
    await shop.tell(confirmation(order_id))
    failed = await shop.order.receive_a(InventoryConfirmationFailed, order_id)
    assert failed.reason == "reservation_released"
    assert shop.level(tea) == (10, 0, 0)


async def test_a_release_before_its_request_leaves_a_tombstone(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=10)
    order_id = uuid4().hex
    await shop.tell(release(order_id))
    assert (await shop.order.receive_a(InventoryReleased, order_id)).reservations == ()
    first = request(Item(product_id=tea, quantity=2), order_id=order_id, event_id="first-" + order_id)
    await shop.tell(first)
    failed = await shop.order.receive_a(InventoryReservationFailed, order_id)
    assert failed.reason == "released"
    await shop.tell(first.model_copy(update={"event_id": "other-" + order_id}))
    assert await shop.order.receive_a(InventoryReservationFailed, order_id) == failed
    assert shop.level(tea) == (10, 0, 0)
    assert shop.status(order_id) == "released"


async def test_an_allocation_is_not_released(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=10)
    order_id = await shop.hold(tea, 2)
    await shop.tell(confirmation(order_id))
    await shop.order.receive_a(InventoryConfirmed, order_id)
    await shop.tell(release(order_id))
    await shop.nothing_came()
    assert shop.level(tea) == (8, 0, 2)
    assert shop.status(order_id) == "allocated"


async def test_a_confirmation_that_comes_before_its_request_waits(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=10)
    order_id = uuid4().hex
    await shop.tell(confirmation(order_id))
    await until(
        lambda: metric(shop, "saga_retries_total", "InventoryConfirmationRequested") > 0, "it is put off"
    )
    await shop.hold(tea, 2, order_id=order_id)
    await shop.order.receive_a(InventoryConfirmed, order_id)
    assert shop.level(tea) == (8, 0, 2)


def metric(shop: MerchantSettings, name: str, kind: str) -> float:
    """Return a counter of events of one type."""
    return sum(
        float(row.rpartition(" ")[2])
        for row in shop.http.get("/metrics").text.splitlines()
        if row.startswith(name) and f'type="{kind}"' in row
    )


# The clock


async def test_a_hold_that_runs_out_gives_the_stock_back(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=10)
    order_id = await shop.hold(tea, 2, expires_in=1)
    assert shop.level(tea) == (8, 2, 0)
    expired = await shop.order.receive_a(InventoryReservationExpired, order_id)
    assert expired.reservations == (line(order_id, tea, 2),)
    assert expired.correlation_id == order_id
    assert shop.level(tea) == (10, 0, 0)
    assert shop.status(order_id) == "expired"
    await shop.tell(release(order_id))
    assert (await shop.order.receive_a(InventoryReleased, order_id)).reservations == ()
    assert shop.level(tea) == (10, 0, 0)


async def test_confirming_an_expired_hold_takes_available_stock(
    shop: MerchantSettings,
) -> None:
    tea, cup = shop.shelve(berlin=2, lisbon=2), shop.shelve(berlin=2)
    lucky = await shop.hold(tea, 2, expires_in=1)
    unlucky = await shop.hold(cup, 2, expires_in=1)
    ended = [await shop.order.receive() for _ in range(2)]
    assert {type(event) for event in ended} == {InventoryReservationExpired}
    assert {event.order_id for event in ended} == {lucky, unlucky}
    await shop.hold(tea, 1)
    await shop.hold(cup, 1)
    await shop.tell(confirmation(lucky))
    confirmed = await shop.order.receive_a(InventoryConfirmed, lucky)
    assert sum(taken.quantity for taken in confirmed.reservations) == 2
    assert shop.status(lucky) == "allocated"
    asked = confirmation(unlucky, event_id=uuid4().hex)
    await shop.tell(asked)
    failed = await shop.order.receive_a(InventoryConfirmationFailed, unlucky)
    assert failed.reason == "reservation_expired"
    assert shop.level(cup) == (1, 1, 0)
    assert shop.status(unlucky) == "rejected"
    await shop.tell(asked)
    assert await shop.order.receive_a(InventoryConfirmationFailed, unlucky) == failed


# Repetitions


async def test_a_request_published_manually_twice_gets_one_answer(
    shop: MerchantSettings, module_broker: Broker
) -> None:
    tea = shop.shelve(berlin=10)
    order_id = uuid4().hex
    payload = json.dumps(
        {
            "type": "InventoryReservationRequested",
            "orderId": order_id,
            "userId": "u-1",
            "items": [{"productId": tea, "quantity": 2}],
            "totalAmount": 25,
        }
    )
    answers = []
    for _ in range(2):
        assert module_broker.publish_manually("order.events", "InventoryReservationRequested", payload)
        answers.append(await shop.order.receive_a(InventoryReserved, order_id))
    assert answers[0] == answers[1]
    assert answers[0].causation_id
    assert shop.level(tea) == (8, 2, 0)


async def test_a_request_with_another_id_gets_the_first_answer(
    shop: MerchantSettings,
) -> None:
    tea = shop.shelve(berlin=10)
    first = request(Item(product_id=tea, quantity=2), event_id=uuid4().hex)
    await shop.tell(first)
    answer = await shop.order.receive_a(InventoryReserved, first.order_id)
    await shop.tell(first.model_copy(update={"event_id": uuid4().hex}))
    assert await shop.order.receive_a(InventoryReserved, first.order_id) == answer
    await shop.tell(request(Item(product_id=tea, quantity=5), order_id=first.order_id))
    assert await shop.order.receive_a(InventoryReserved, first.order_id) == answer
    assert shop.level(tea) == (8, 2, 0)


async def test_a_rejected_request_stays_rejected(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=1)
    first = request(Item(product_id=tea, quantity=2), event_id=uuid4().hex)
    await shop.tell(first)
    answer = await shop.order.receive_a(InventoryReservationFailed, first.order_id)
    await shop.tell(request(Item(product_id=tea, quantity=1), order_id=first.order_id))
    assert await shop.order.receive_a(InventoryReservationFailed, first.order_id) == answer
    await shop.tell(confirmation(first.order_id))
    failed = await shop.order.receive_a(InventoryConfirmationFailed, first.order_id)
    assert failed.reason == "reservation_rejected"


@pytest.mark.parametrize(("ask", "kind"), [(confirmation, InventoryConfirmed), (release, InventoryReleased)])
async def test_a_repeated_request_is_done_once_and_answered_twice(
    shop: MerchantSettings, ask: Callable[[str, str], Event], kind: type[Event]
) -> None:
    tea = shop.shelve(berlin=10)
    order_id = await shop.hold(tea, 2)
    answers = []
    for event_id in ("a-" + order_id, "a-" + order_id, "b-" + order_id):
        await shop.tell(ask(order_id, event_id))
        answers.append(await shop.order.receive_a(kind, order_id))
    assert answers[0] == answers[1] == answers[2]
    assert shop.level(tea) == ((8, 0, 2) if kind is InventoryConfirmed else (10, 0, 0))


async def test_a_hot_product_is_sold_once(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=4, lisbon=3)
    asked = [request(Item(product_id=tea, quantity=1)) for _ in range(20)]
    await asyncio.gather(*(shop.tell(event) for event in asked))
    answers = [await shop.order.receive() for _ in asked]
    assert {event.order_id for event in answers} == {event.order_id for event in asked}
    assert sum(isinstance(event, InventoryReserved) for event in answers) == 7
    assert sum(isinstance(event, InventoryReservationFailed) for event in answers) == 13
    assert (shop.level(tea, "berlin"), shop.level(tea, "lisbon")) == ((0, 4, 0), (0, 3, 0))


async def test_a_bad_message_is_dead_lettered_and_the_service_goes_on(shop: MerchantSettings) -> None:
    bad = (
        b'{"type":"InventoryReservationRequested","orderId":"o-1","userId":"u-1","items":[],"totalAmount":1}'
    )
    await shop.publish("order.events", "InventoryReservationRequested", bad)
    dead = await shop.get("inventory_service.dead")
    await dead.ack()
    assert dead.body == bad
    assert "items" in str(dead.headers["x-saga-reason"])
    await shop.hold(shop.shelve(berlin=1))


# HTTP


def body(product: str, quantity: int = 1, **fields: object) -> dict[str, object]:
    return {"userId": "u-1", "items": [{"productId": product, "quantity": quantity}], **fields}


async def test_a_hold_made_over_http_starts_no_saga_and_is_made_once(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=10)
    order_id = uuid4().hex
    first = shop.http.post("/reservations", json=body(tea, 2, orderId=order_id))
    assert first.status_code == 201
    assert first.headers["location"] == f"/reservations/{order_id}"
    held = first.json()
    assert (held["reservationId"], held["orderId"], held["status"]) == (order_id, order_id, "held")
    assert held["saga"] is False
    assert held["totalAmount"] is None
    assert held["lines"] == [
        {"reservationId": order_id, "productId": tea, "warehouseId": "berlin", "quantity": 2}
    ]
    again = shop.http.post("/reservations", json=body(tea, 2, orderId=order_id))
    assert (again.status_code, again.json()) == (201, held)
    check_problem(shop.http.post("/reservations", json=body(tea, 3, orderId=order_id)), 409)
    assert shop.http.get(f"/reservations/{order_id}").json() == held
    assert shop.level(tea) == (8, 2, 0)
    await shop.nothing_came()


async def test_a_hold_made_over_http_is_confirmed_over_http(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=10)
    order_id = shop.http.post("/reservations", json=body(tea, 2)).json()["orderId"]
    for _ in range(2):
        confirmed = shop.http.post(f"/reservations/{order_id}/confirm")
        assert (confirmed.status_code, confirmed.json()["status"]) == (200, "allocated")
        assert shop.level(tea) == (8, 0, 2)
    check_problem(shop.http.post(f"/reservations/{order_id}/release"), 409)
    assert shop.level(tea) == (8, 0, 2)
    await shop.nothing_came()


async def test_a_hold_made_over_http_is_released_over_http(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=10)
    order_id = shop.http.post("/reservations", json=body(tea, 2)).json()["orderId"]
    for _ in range(2):
        released = shop.http.post(f"/reservations/{order_id}/release")
        assert (released.status_code, released.json()["status"]) == (200, "released")
        assert shop.level(tea) == (10, 0, 0)
    check_problem(shop.http.post(f"/reservations/{order_id}/confirm"), 409)
    assert shop.level(tea) == (10, 0, 0)
    await shop.nothing_came()


async def test_a_hold_made_over_http_runs_out_in_silence(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=10)
    order_id = shop.http.post("/reservations", json=body(tea, 2, expiresIn=1)).json()["orderId"]
    await until(lambda: shop.status(order_id) == "expired", "the hold runs out")
    assert shop.level(tea) == (10, 0, 0)
    check_problem(shop.http.post(f"/reservations/{order_id}/confirm"), 409)
    await shop.nothing_came()


async def test_a_hold_made_over_http_with_a_price_starts_a_saga(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=10, lisbon=10)
    asked = body(
        tea,
        2,
        totalAmount="12.50",
        currency="EUR",
        paymentMethod="sim:approve",
        userLocation={"latitude": 38.5, "longitude": -9.0},
    )
    order_id = shop.http.post("/reservations", json=asked).json()["orderId"]
    held = await shop.order.receive_a(InventoryReserved, order_id)
    assert held.correlation_id == order_id
    assert held.event_id
    assert (held.total_amount, held.currency, held.payment_method) == (
        Decimal("12.50"),
        "EUR",
        "sim:approve",
    )
    assert held.reservations == (line(order_id, tea, 2, "lisbon"),)
    again = shop.http.post("/reservations", json={**asked, "orderId": order_id})
    assert again.status_code == 201
    await shop.tell(confirmation(order_id))
    await shop.order.receive_a(InventoryConfirmed, order_id)
    assert shop.level(tea, "lisbon") == (8, 0, 2)


async def test_a_sagas_reservation_cannot_be_changed_over_http(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=10)
    by_event = await shop.hold(tea, 2)
    by_price = shop.http.post("/reservations", json=body(tea, 1, totalAmount=1)).json()["orderId"]
    await shop.order.receive_a(InventoryReserved, by_price)
    joined = shop.http.post("/reservations", json=body(tea, 1)).json()["orderId"]
    await shop.hold(tea, 1, order_id=joined)
    for order_id in (by_event, by_price, joined):
        for change in ("confirm", "release"):
            check_problem(shop.http.post(f"/reservations/{order_id}/{change}"), 409)
        assert shop.status(order_id) == "held"
    assert shop.level(tea) == (6, 4, 0)


async def test_the_same_idempotency_key_means_the_same_hold(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=10)
    key = {"Idempotency-Key": f"key-{uuid4().hex}"}
    first, again = (shop.http.post("/reservations", json=body(tea, 2), headers=key) for _ in range(2))
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert again.headers["location"] == first.headers["location"]
    near = {"latitude": 38.5, "longitude": -9.0}
    for other in (body(tea, 3), body(tea, 2, userId="u-2"), body(tea, 2, userLocation=near)):
        check_problem(shop.http.post("/reservations", json=other, headers=key), 409)
    assert shop.level(tea) == (8, 2, 0)
    another = shop.http.post("/reservations", json=body(tea, 2), headers={"Idempotency-Key": uuid4().hex})
    assert another.json()["orderId"] != first.json()["orderId"]
    assert shop.level(tea) == (6, 4, 0)
    await shop.nothing_came()


@pytest.mark.parametrize("price", [None, "12.50"])
async def test_the_same_hold_asked_for_many_times_at_once_is_made_once(
    shop: MerchantSettings, price: str | None
) -> None:
    tea = shop.shelve(berlin=10)
    order_id = uuid4().hex
    asked = body(tea, 2, orderId=order_id, totalAmount=price)
    answers = await asyncio.gather(
        *(asyncio.to_thread(shop.http.post, "/reservations", json=asked) for _ in range(8))
    )
    assert [answer.status_code for answer in answers] == [201] * 8
    assert all(answer.json() == answers[0].json() for answer in answers)
    assert shop.level(tea) == (8, 2, 0)
    if price:
        await shop.order.receive_a(InventoryReserved, order_id)
    await shop.nothing_came()


async def test_a_hold_that_a_saga_took_over_is_still_the_same_hold(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=10)
    asked = body(tea, 2, orderId=uuid4().hex)
    first = shop.http.post("/reservations", json=asked).json()
    await shop.hold(tea, 2, order_id=first["orderId"])
    again = shop.http.post("/reservations", json=asked)
    assert (again.status_code, again.json()["lines"]) == (201, first["lines"])
    check_problem(shop.http.post("/reservations", json={**asked, "totalAmount": "1.00"}), 409)
    assert shop.level(tea) == (8, 2, 0)


async def test_a_reservation_rejected_for_a_saga_is_no_hold(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=1)
    asked = request(Item(product_id=tea, quantity=2))
    await shop.tell(asked)
    await shop.order.receive_a(InventoryReservationFailed, asked.order_id)
    again = body(tea, 2, orderId=asked.order_id, totalAmount="25.00")
    check_problem(shop.http.post("/reservations", json=again), 409)
    assert shop.level(tea) == (1, 0, 0)


async def test_a_priced_hold_without_the_broker_starts_its_saga_later(
    broker: Broker, mongodb_url: str, tmp_path: Path
) -> None:
    database = f"inventory_{uuid4().hex[:12]}"
    nowhere = "amqp://guest:guest@127.0.0.1:9/"
    with alone(INVENTORY, nowhere, mongodb_url, tmp_path, database=database) as lonely:
        lonely.http.put("/warehouses", json={"warehouses": WAREHOUSES}).raise_for_status()
        lonely.http.put("/stock/berlin/tea", json={"available": 5}).raise_for_status()
        made = lonely.http.post("/reservations", json=body("tea", 2, totalAmount="12.50"))
        assert (made.status_code, made.json()["status"]) == (201, "held")
    async with broker.connected() as client:
        with alone(INVENTORY, broker.url, mongodb_url, tmp_path, database=database) as service:
            neighbours = await stand_in_for_others(client, INVENTORY)
            service.wait_ready()
            held = await neighbours[ORDER].receive_a(InventoryReserved, made.json()["orderId"])
    assert held.total_amount == Decimal("12.50")


async def test_a_hold_that_cannot_be_made_over_http_is_not_remembered(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=1)
    order_id = uuid4().hex
    refused = shop.http.post("/reservations", json=body(tea, 2, orderId=order_id))
    check_problem(refused, 409)
    assert refused.json()["errors"] == [{"field": tea, "message": "2 requested, 1 available"}]
    check_problem(shop.http.post("/reservations", json=body("unknown-id")), 409, None)
    check_problem(shop.http.get(f"/reservations/{order_id}"), 404)
    assert shop.http.post("/reservations", json=body(tea, 1, orderId=order_id)).status_code == 201
    await shop.nothing_came()


async def test_stock_levels_are_set_and_read(shop: MerchantSettings) -> None:
    tea = shop.shelve(berlin=10)
    await shop.hold(tea, 2)
    level = shop.http.get("/stock", params={"productId": tea}).json()["stock"][0]
    assert level == {
        "warehouseId": "berlin",
        "productId": tea,
        "available": 8,
        "reserved": 2,
        "allocated": 0,
        "owned": 10,
        "version": level["version"],
    }
    old = f'"{level["version"] - 1}"'
    check_problem(put_level(shop, tea, 5, old), 412)
    check_problem(put_level(shop, "never-shelved", 5, '"1"'), 412)
    assert shop.level(tea) == (8, 2, 0)
    changed = put_level(shop, tea, 5, f'"{level["version"]}"')
    assert changed.status_code == 200
    assert (changed.json()["available"], changed.json()["reserved"]) == (5, 2)
    assert changed.headers["etag"] == f'"{level["version"] + 1}"'
    assert put_level(shop, tea, 8, changed.headers["etag"]).json()["available"] == 8
    everywhere = shop.http.get("/stock").json()["stock"]
    assert tea in [row["productId"] for row in everywhere]
    in_lisbon = shop.http.get("/stock", params={"warehouseId": "lisbon"}).json()["stock"]
    assert {row["warehouseId"] for row in in_lisbon} == {"lisbon"}
    assert shop.http.get("/stock", params={"productId": "never-shelved"}).json() == {"stock": []}


def put_level(shop: MerchantSettings, product: str, available: int, version: str) -> httpx.Response:
    return shop.http.put(
        f"/stock/berlin/{product}", json={"available": available}, headers={"If-Match": version}
    )


async def test_warehouses_are_added_and_changed(shop: MerchantSettings) -> None:
    added = {"warehouseId": f"w-{uuid4().hex[:8]}", "location": {"latitude": 1.5, "longitude": 2}}
    answer = shop.http.put("/warehouses", json={"warehouses": [added]})
    assert answer.status_code == 200
    listed = shop.http.get("/warehouses").json()["warehouses"]
    assert answer.json()["warehouses"] == listed
    assert {**added, "name": None} in listed
    assert {"berlin", "lisbon", added["warehouseId"]} <= {row["warehouseId"] for row in listed}
    renamed = {**added, "name": "Renamed"}
    shop.http.put("/warehouses", json={"warehouses": [renamed]}).raise_for_status()
    listed = shop.http.get("/warehouses").json()["warehouses"]
    assert [row for row in listed if row["warehouseId"] == added["warehouseId"]] == [renamed]


async def test_no_warehouses_at_all_change_nothing(shop: MerchantSettings) -> None:
    listed = shop.http.get("/warehouses").json()
    answer = shop.http.put("/warehouses", json={"warehouses": []})
    assert answer.status_code == 200, answer.text
    assert answer.json() == listed


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/reservations/unknown-id"),
        ("POST", "/reservations/unknown-id/confirm"),
        ("POST", "/reservations/unknown-id/release"),
        ("PUT", "/stock/atlantis/tea"),
        ("GET", "/nowhere"),
    ],
)
def test_an_unknown_id_is_not_found(service: Alone, method: str, path: str) -> None:
    content = {"available": 1} if method == "PUT" else None
    check_problem(service.http.request(method, path, json=content), 404)


INVALID_HOLDS: dict[str, tuple[dict[str, object], str]] = {
    "no user": ({"userId": None}, "userId"),
    "no items": ({"items": []}, "items"),
    "a line twice": ({"items": [{"productId": "tea", "quantity": 1}] * 2}, "items"),
    "a quantity of nothing": ({"items": [{"productId": "tea", "quantity": 0}]}, "items.0.quantity"),
    "a quantity that is no whole number": (
        {"items": [{"productId": "tea", "quantity": 1.5}]},
        "items.0.quantity",
    ),
    "a huge quantity": ({"items": [{"productId": "tea", "quantity": 10**9}]}, "items.0.quantity"),
    "an id with a dot": ({"items": [{"productId": "a.b", "quantity": 1}]}, "items.0.productId"),
    "an order id that is too long": ({"orderId": "o" * 65}, "orderId"),
    "no money": ({"totalAmount": "0"}, "totalAmount"),
    "money that is no number": ({"totalAmount": "much"}, "totalAmount"),
    "a currency that is none": ({"currency": "euro"}, "currency"),
    "an unknown field": ({"totalAmuont": "1.00"}, "totalAmuont"),
    "a place that is none": ({"userLocation": {"latitude": 91, "longitude": 0}}, "userLocation.latitude"),
    "a hold of no time": ({"expiresIn": 0}, "expiresIn"),
}


@pytest.mark.parametrize("case", INVALID_HOLDS)
def test_an_invalid_hold_is_refused_and_the_field_named(service: Alone, case: str) -> None:
    change, field = INVALID_HOLDS[case]
    check_problem(service.http.post("/reservations", json={**body("tea"), **change}), 422, field)


INVALID_PUTS: dict[str, tuple[str, object, str]] = {
    "less than nothing": ("/stock/berlin/tea", {"available": -1}, "available"),
    "too much": ("/stock/berlin/tea", {"available": 10**13}, "available"),
    "no level": ("/stock/berlin/tea", {}, "available"),
    "an unknown field": ("/stock/berlin/tea", {"available": 1, "reserved": 1}, "reserved"),
    "a product with a dot": ("/stock/berlin/a.b", {"available": 1}, "product_id"),
    "a warehouse nowhere": ("/warehouses", {"warehouses": [{"warehouseId": "w"}]}, "warehouses.0.location"),
    "a warehouse with a dot": (
        "/warehouses",
        {"warehouses": [{"warehouseId": "a.b", "location": {"latitude": 0, "longitude": 0}}]},
        "warehouses.0.warehouseId",
    ),
}


@pytest.mark.parametrize("case", INVALID_PUTS)
def test_an_invalid_level_or_warehouse_is_rejected_by_field(service: Alone, case: str) -> None:
    path, content, field = INVALID_PUTS[case]
    check_problem(service.http.put(path, json=content), 422, field)


def test_a_version_that_is_none_is_refused(service: Alone) -> None:
    answer = service.http.put("/stock/berlin/tea", json={"available": 1}, headers={"If-Match": "newest"})
    check_problem(answer, 422)


@pytest.mark.parametrize("path", ["/reservations/a.b", f"/reservations/{'x' * 65}", "/stock?productId=a.b"])
def test_an_impossible_id_is_refused_at_the_door(service: Alone, path: str) -> None:
    check_problem(service.http.get(path), 422)


def test_the_api_describes_itself(service: Alone) -> None:
    paths = service.http.get("/openapi.json").json()["paths"]
    assert {
        "/reservations",
        "/reservations/{reservation_id}",
        "/reservations/{reservation_id}/confirm",
        "/reservations/{reservation_id}/release",
        "/stock",
        "/stock/{warehouse_id}/{product_id}",
        "/warehouses",
    } <= paths.keys()
    assert 'saga_events_total{outcome="handled",service="inventory_service"' in (
        service.http.get("/metrics").text
    )


# The database goes away


async def test_without_the_database_nothing_is_half_done(
    shop: MerchantSettings, service: Alone, database: DatabaseNode
) -> None:
    tea, cup = shop.shelve(berlin=10), shop.shelve(berlin=4, lisbon=3)
    by_hand = uuid4().hex
    in_hand = [request(Item(product_id=cup, quantity=1)) for _ in range(20)]
    waiting = request(Item(product_id=tea, quantity=2))
    await asyncio.gather(*(shop.tell(event) for event in in_hand))
    database.kill()
    try:
        await shop.tell(waiting)
        ready = asyncio.create_task(asyncio.to_thread(lambda: service.ready))
        for answer in await calls_over_http(service, tea, by_hand):
            check_problem(answer, 503)
            assert answer.headers["retry-after"]
        assert not await ready
        assert service.lives
    finally:
        database.start()
        await asyncio.to_thread(database.wait_ready)
    answers = [await shop.order.receive() for _ in [*in_hand, waiting]]
    assert {event.order_id for event in answers} == {event.order_id for event in [*in_hand, waiting]}
    assert sum(isinstance(event, InventoryReserved) for event in answers) == 7 + 1
    assert (shop.level(cup, "berlin"), shop.level(cup, "lisbon")) == ((0, 4, 0), (0, 3, 0))
    assert shop.level(tea) == (8, 2, 0)
    check_problem(shop.http.get(f"/reservations/{by_hand}"), 404)
    await until(lambda: service.ready, "the service is ready again")


async def calls_over_http(service: Alone, product: str, order_id: str) -> Sequence[httpx.Response]:
    """Make calls of every kind, all at once, since each waits a while for the database."""
    calls: list[tuple[str, str, object]] = [
        ("POST", "/reservations", body(product, 2, orderId=order_id)),
        ("GET", f"/reservations/{order_id}", None),
        ("GET", "/stock", None),
        ("PUT", f"/stock/berlin/{product}", {"available": 1}),
        ("GET", "/warehouses", None),
        ("PUT", "/warehouses", {"warehouses": WAREHOUSES}),
    ]
    return await asyncio.gather(
        *(
            asyncio.to_thread(service.http.request, method, path, json=content)
            for method, path, content in calls
        )
    )
