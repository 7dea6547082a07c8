"""Requests that come twice, many at once, or malformed."""

import asyncio
import json
from collections.abc import Callable
from uuid import uuid4

import pytest

from events.catalogue import (
    Event,
    InventoryConfirmationFailed,
    InventoryConfirmed,
    InventoryReleased,
    InventoryReservationFailed,
    InventoryReserved,
)
from events.values import Item
from tests.integration.inventory_service.driver import InventoryDriver, confirmation, release, request
from tests.support.broker import Broker


async def test_a_request_published_manually_twice_gets_one_answer(
    inventory: InventoryDriver, package_broker: Broker
) -> None:
    tea = inventory.put_stock(berlin=10)
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
        assert package_broker.publish_manually("order.events", "InventoryReservationRequested", payload)
        answers.append(await inventory.order.receive_a(InventoryReserved, order_id))
    assert answers[0] == answers[1]
    assert answers[0].causation_id
    assert inventory.level(tea) == (8, 2, 0)


async def test_a_request_with_another_id_gets_the_first_answer(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=10)
    first = request(Item(product_id=tea, quantity=2), event_id=uuid4().hex)
    await inventory.publish_event(first)
    answer = await inventory.order.receive_a(InventoryReserved, first.order_id)
    await inventory.publish_event(first.model_copy(update={"event_id": uuid4().hex}))
    assert await inventory.order.receive_a(InventoryReserved, first.order_id) == answer
    await inventory.publish_event(request(Item(product_id=tea, quantity=5), order_id=first.order_id))
    assert await inventory.order.receive_a(InventoryReserved, first.order_id) == answer
    assert inventory.level(tea) == (8, 2, 0)


async def test_a_rejected_request_stays_rejected(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=1)
    first = request(Item(product_id=tea, quantity=2), event_id=uuid4().hex)
    await inventory.publish_event(first)
    answer = await inventory.order.receive_a(InventoryReservationFailed, first.order_id)
    await inventory.publish_event(request(Item(product_id=tea, quantity=1), order_id=first.order_id))
    assert await inventory.order.receive_a(InventoryReservationFailed, first.order_id) == answer
    await inventory.publish_event(confirmation(first.order_id))
    failed = await inventory.order.receive_a(InventoryConfirmationFailed, first.order_id)
    assert failed.reason == "reservation_rejected"


@pytest.mark.parametrize(("ask", "kind"), [(confirmation, InventoryConfirmed), (release, InventoryReleased)])
async def test_a_repeated_request_is_done_once_and_answered_twice(
    inventory: InventoryDriver, ask: Callable[[str, str], Event], kind: type[Event]
) -> None:
    tea = inventory.put_stock(berlin=10)
    order_id = await inventory.hold(tea, 2)
    answers = []
    for event_id in ("a-" + order_id, "a-" + order_id, "b-" + order_id):
        await inventory.publish_event(ask(order_id, event_id))
        answers.append(await inventory.order.receive_a(kind, order_id))
    assert answers[0] == answers[1] == answers[2]
    assert inventory.level(tea) == ((8, 0, 2) if kind is InventoryConfirmed else (10, 0, 0))


async def test_a_hot_product_is_sold_once(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=4, lisbon=3)
    asked = [request(Item(product_id=tea, quantity=1)) for _ in range(20)]
    await asyncio.gather(*(inventory.publish_event(event) for event in asked))
    answers = [await inventory.order.receive() for _ in asked]
    assert {event.order_id for event in answers} == {event.order_id for event in asked}
    assert sum(isinstance(event, InventoryReserved) for event in answers) == 7
    assert sum(isinstance(event, InventoryReservationFailed) for event in answers) == 13
    assert (inventory.level(tea, "berlin"), inventory.level(tea, "lisbon")) == ((0, 4, 0), (0, 3, 0))


async def test_a_bad_message_is_dead_lettered_and_the_service_goes_on(inventory: InventoryDriver) -> None:
    bad = (
        b'{"type":"InventoryReservationRequested","orderId":"o-1","userId":"u-1","items":[],"totalAmount":1}'
    )
    await inventory.publish("order.events", "InventoryReservationRequested", bad)
    dead = await inventory.get("inventory_service.dead")
    await dead.ack()
    assert dead.body == bad
    assert "items" in str(dead.headers["x-saga-reason"])
    await inventory.hold(inventory.put_stock(berlin=1))
