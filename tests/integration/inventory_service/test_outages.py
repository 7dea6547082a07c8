"""What the inventory service does while the broker or the database is down."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import httpx

from events.catalogue import INVENTORY, ORDER, InventoryReserved
from events.values import Item
from local_stack.mongodb_node import DatabaseNode
from tests.integration.inventory_service.driver import WAREHOUSES, InventoryDriver, body, request
from tests.support.broker import Broker, until
from tests.support.services import ServiceProcess, check_problem, run_service, stand_in_for_others


async def test_a_priced_hold_without_the_broker_starts_its_saga_later(
    broker: Broker, mongodb_url: str, tmp_path: Path
) -> None:
    database = f"inventory_{uuid4().hex[:12]}"
    nowhere = "amqp://guest:guest@127.0.0.1:9/"
    with run_service(INVENTORY, nowhere, mongodb_url, tmp_path, database=database) as offline:
        offline.http.put("/warehouses", json={"warehouses": WAREHOUSES}).raise_for_status()
        offline.http.put("/stock/berlin/tea", json={"available": 5}).raise_for_status()
        made = offline.http.post("/reservations", json=body("tea", 2, totalAmount="12.50"))
        assert (made.status_code, made.json()["status"]) == (201, "held")
    async with broker.connected() as client:
        with run_service(INVENTORY, broker.url, mongodb_url, tmp_path, database=database) as service:
            neighbours = await stand_in_for_others(client, INVENTORY)
            service.wait_ready()
            held = await neighbours[ORDER].receive_a(InventoryReserved, made.json()["orderId"])
    assert held.total_amount == Decimal("12.50")


async def test_without_the_database_nothing_is_half_done(
    inventory: InventoryDriver, service: ServiceProcess, database: DatabaseNode
) -> None:
    tea, cup = inventory.put_stock(berlin=10), inventory.put_stock(berlin=4, lisbon=3)
    direct = uuid4().hex
    in_flight = [request(Item(product_id=cup, quantity=1)) for _ in range(20)]
    waiting = request(Item(product_id=tea, quantity=2))
    await asyncio.gather(*(inventory.publish_event(event) for event in in_flight))
    database.kill()
    try:
        await inventory.publish_event(waiting)
        ready = asyncio.create_task(asyncio.to_thread(lambda: service.ready))
        for answer in await calls_over_http(service, tea, direct):
            check_problem(answer, 503)
            assert answer.headers["retry-after"]
        assert not await ready
        assert service.lives
    finally:
        database.start()
        await asyncio.to_thread(database.wait_ready)
    answers = [await inventory.order.receive() for _ in [*in_flight, waiting]]
    assert {event.order_id for event in answers} == {event.order_id for event in [*in_flight, waiting]}
    assert sum(isinstance(event, InventoryReserved) for event in answers) == 7 + 1
    assert (inventory.level(cup, "berlin"), inventory.level(cup, "lisbon")) == ((0, 4, 0), (0, 3, 0))
    assert inventory.level(tea) == (8, 2, 0)
    check_problem(inventory.http.get(f"/reservations/{direct}"), 404)
    await until(lambda: service.ready, "the service is ready again")


async def calls_over_http(service: ServiceProcess, product: str, order_id: str) -> Sequence[httpx.Response]:
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
