"""Requests of a saga: stock is held, allocated and released."""

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from events.catalogue import (
    InventoryConfirmationFailed,
    InventoryConfirmed,
    InventoryReleased,
    InventoryReservationExpired,
    InventoryReservationFailed,
    InventoryReserved,
)
from events.values import Item, Location, Shortage
from saga.clock import utc_now
from tests.integration.inventory_service.driver import (
    HOLD_SECONDS,
    NEAR_BERLIN,
    NEAR_LISBON,
    InventoryDriver,
    confirmation,
    line,
    release,
    request,
)
from tests.support.broker import until


async def test_stock_is_held(inventory: InventoryDriver) -> None:
    tea, cup = inventory.put_stock(berlin=10), inventory.put_stock(berlin=3)
    asked = request(
        Item(product_id=tea, quantity=2),
        Item(product_id=cup, quantity=3),
        event_id=uuid4().hex,
        correlation_id="saga-of-another-name",
        currency="EUR",
        payment_method="sim:approve",
    )
    before = utc_now()
    await inventory.publish_event(asked)
    held = await inventory.order.receive_a(InventoryReserved, asked.order_id)
    assert held.causation_id == asked.event_id
    assert held.correlation_id == "saga-of-another-name"
    assert (held.user_id, held.items, held.payment_method) == ("u-1", asked.items, "sim:approve")
    assert (held.total_amount, held.currency) == (Decimal("25.00"), "EUR")
    assert set(held.reservations) == {line(asked.order_id, tea, 2), line(asked.order_id, cup, 3)}
    assert before <= held.expires_at - timedelta(seconds=HOLD_SECONDS) <= utc_now()
    assert inventory.level(tea) == (8, 2, 0)
    assert inventory.level(cup) == (0, 3, 0)
    seen = inventory.http.get(f"/reservations/{asked.order_id}").json()
    assert (seen["status"], seen["saga"], seen["totalAmount"]) == ("held", True, "25.00")
    assert len(seen["lines"]) == 2


async def test_an_order_says_how_long_its_hold_lasts(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=1)
    asked = request(Item(product_id=tea, quantity=1), expires_in=3600)
    before = utc_now()
    await inventory.publish_event(asked)
    held = await inventory.order.receive_a(InventoryReserved, asked.order_id)
    assert before <= held.expires_at - timedelta(seconds=3600) <= utc_now()


async def test_without_enough_stock_the_shortages_are_named(inventory: InventoryDriver) -> None:
    tea, cup = inventory.put_stock(berlin=10), inventory.put_stock(berlin=1, lisbon=1)
    asked = request(Item(product_id=tea, quantity=2), Item(product_id=cup, quantity=3))
    await inventory.publish_event(asked)
    failed = await inventory.order.receive_a(InventoryReservationFailed, asked.order_id)
    assert failed.reason == "insufficient_stock"
    assert failed.shortages == (Shortage(product_id=cup, requested=3, available=2),)
    assert (failed.user_id, failed.items, failed.total_amount) == ("u-1", asked.items, Decimal("25.00"))
    assert inventory.level(tea) == (10, 0, 0)
    assert inventory.level(cup) == (1, 0, 0)
    assert inventory.status(asked.order_id) == "rejected"


async def test_an_unknown_product_is_refused(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=10)
    asked = request(Item(product_id=tea, quantity=2), Item(product_id="unknown", quantity=1))
    await inventory.publish_event(asked)
    failed = await inventory.order.receive_a(InventoryReservationFailed, asked.order_id)
    assert failed.reason == "unknown_product"
    assert failed.shortages == (Shortage(product_id="unknown", requested=1, available=0),)
    assert inventory.level(tea) == (10, 0, 0)


async def test_an_unknown_warehouse_is_refused(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=10)
    asked = request(Item(product_id=tea, quantity=2, warehouse_id="atlantis"))
    await inventory.publish_event(asked)
    failed = await inventory.order.receive_a(InventoryReservationFailed, asked.order_id)
    assert failed.reason == "unknown_warehouse"
    assert inventory.level(tea) == (10, 0, 0)


async def test_a_line_with_a_warehouse_is_taken_from_there_only(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=10, lisbon=2)
    asked = request(Item(product_id=tea, quantity=2, warehouse_id="lisbon"), user_location=NEAR_BERLIN)
    await inventory.publish_event(asked)
    held = await inventory.order.receive_a(InventoryReserved, asked.order_id)
    assert held.reservations == (line(asked.order_id, tea, 2, "lisbon"),)
    more = request(Item(product_id=tea, quantity=1, warehouse_id="lisbon"))
    await inventory.publish_event(more)
    failed = await inventory.order.receive_a(InventoryReservationFailed, more.order_id)
    assert failed.shortages == (Shortage(product_id=tea, requested=1, available=0),)
    assert inventory.level(tea) == (10, 0, 0)


async def test_an_order_too_large_for_one_warehouse_is_held_at_two(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=4, lisbon=3)
    asked = request(Item(product_id=tea, quantity=6))
    await inventory.publish_event(asked)
    held = await inventory.order.receive_a(InventoryReserved, asked.order_id)
    assert set(held.reservations) == {
        line(asked.order_id, tea, 4, "berlin"),
        line(asked.order_id, tea, 2, "lisbon"),
    }
    await inventory.publish_event(confirmation(asked.order_id))
    confirmed = await inventory.order.receive_a(InventoryConfirmed, asked.order_id)
    assert set(confirmed.reservations) == set(held.reservations)
    assert (inventory.level(tea, "berlin"), inventory.level(tea, "lisbon")) == ((0, 0, 4), (1, 0, 2))


@pytest.mark.parametrize(("near", "warehouse"), [(NEAR_LISBON, "lisbon"), (NEAR_BERLIN, "berlin")])
async def test_the_nearest_warehouse_is_drawn_on_first(
    inventory: InventoryDriver, near: Location, warehouse: str
) -> None:
    other = "lisbon" if warehouse == "berlin" else "berlin"
    tea = inventory.put_stock(**{warehouse: 2, other: 100})
    asked = request(Item(product_id=tea, quantity=2), user_location=near)
    await inventory.publish_event(asked)
    held = await inventory.order.receive_a(InventoryReserved, asked.order_id)
    assert held.reservations == (line(asked.order_id, tea, 2, warehouse),)


async def test_a_hold_becomes_an_allocation(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=10)
    order_id = await inventory.hold(tea, 2)
    await inventory.publish_event(confirmation(order_id))
    confirmed = await inventory.order.receive_a(InventoryConfirmed, order_id)
    assert confirmed.reservations == (line(order_id, tea, 2),)
    assert inventory.level(tea) == (8, 0, 2)
    assert inventory.status(order_id) == "allocated"


async def test_a_release_makes_the_stock_available_again(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=10)
    order_id = await inventory.hold(tea, 2)
    await inventory.publish_event(release(order_id))
    released = await inventory.order.receive_a(InventoryReleased, order_id)
    assert released.reservations == (line(order_id, tea, 2),)
    assert inventory.level(tea) == (10, 0, 0)
    await inventory.publish_event(confirmation(order_id))
    failed = await inventory.order.receive_a(InventoryConfirmationFailed, order_id)
    assert failed.reason == "reservation_released"
    assert inventory.level(tea) == (10, 0, 0)


async def test_a_release_before_its_request_leaves_a_tombstone(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=10)
    order_id = uuid4().hex
    await inventory.publish_event(release(order_id))
    assert (await inventory.order.receive_a(InventoryReleased, order_id)).reservations == ()
    first = request(Item(product_id=tea, quantity=2), order_id=order_id, event_id="first-" + order_id)
    await inventory.publish_event(first)
    failed = await inventory.order.receive_a(InventoryReservationFailed, order_id)
    assert failed.reason == "released"
    await inventory.publish_event(first.model_copy(update={"event_id": "other-" + order_id}))
    assert await inventory.order.receive_a(InventoryReservationFailed, order_id) == failed
    assert inventory.level(tea) == (10, 0, 0)
    assert inventory.status(order_id) == "released"


async def test_an_allocation_is_not_released(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=10)
    order_id = await inventory.hold(tea, 2)
    await inventory.publish_event(confirmation(order_id))
    await inventory.order.receive_a(InventoryConfirmed, order_id)
    await inventory.publish_event(release(order_id))
    await inventory.nothing_came()
    assert inventory.level(tea) == (8, 0, 2)
    assert inventory.status(order_id) == "allocated"


async def test_a_confirmation_that_comes_before_its_request_waits(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=10)
    order_id = uuid4().hex
    await inventory.publish_event(confirmation(order_id))
    await until(
        lambda: metric(inventory, "saga_retries_total", "InventoryConfirmationRequested") > 0,
        "it is deferred",
    )
    await inventory.hold(tea, 2, order_id=order_id)
    await inventory.order.receive_a(InventoryConfirmed, order_id)
    assert inventory.level(tea) == (8, 0, 2)


def metric(inventory: InventoryDriver, name: str, kind: str) -> float:
    """Return a counter of events of one type."""
    return sum(
        float(row.rpartition(" ")[2])
        for row in inventory.http.get("/metrics").text.splitlines()
        if row.startswith(name) and f'type="{kind}"' in row
    )


async def test_an_expired_hold_makes_the_stock_available_again(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=10)
    order_id = await inventory.hold(tea, 2, expires_in=1)
    assert inventory.level(tea) == (8, 2, 0)
    expired = await inventory.order.receive_a(InventoryReservationExpired, order_id)
    assert expired.reservations == (line(order_id, tea, 2),)
    assert expired.correlation_id == order_id
    assert inventory.level(tea) == (10, 0, 0)
    assert inventory.status(order_id) == "expired"
    await inventory.publish_event(release(order_id))
    assert (await inventory.order.receive_a(InventoryReleased, order_id)).reservations == ()
    assert inventory.level(tea) == (10, 0, 0)


async def test_confirming_an_expired_hold_takes_available_stock(inventory: InventoryDriver) -> None:
    tea, cup = inventory.put_stock(berlin=2, lisbon=2), inventory.put_stock(berlin=2)
    lucky = await inventory.hold(tea, 2, expires_in=1)
    unlucky = await inventory.hold(cup, 2, expires_in=1)
    ended = [await inventory.order.receive() for _ in range(2)]
    assert {type(event) for event in ended} == {InventoryReservationExpired}
    assert {event.order_id for event in ended} == {lucky, unlucky}
    await inventory.hold(tea, 1)
    await inventory.hold(cup, 1)
    await inventory.publish_event(confirmation(lucky))
    confirmed = await inventory.order.receive_a(InventoryConfirmed, lucky)
    assert sum(taken.quantity for taken in confirmed.reservations) == 2
    assert inventory.status(lucky) == "allocated"
    asked = confirmation(unlucky, event_id=uuid4().hex)
    await inventory.publish_event(asked)
    failed = await inventory.order.receive_a(InventoryConfirmationFailed, unlucky)
    assert failed.reason == "reservation_expired"
    assert inventory.level(cup) == (1, 1, 0)
    assert inventory.status(unlucky) == "rejected"
    await inventory.publish_event(asked)
    assert await inventory.order.receive_a(InventoryConfirmationFailed, unlucky) == failed
