"""Unanswered requests are published again, on request and by the service itself."""

from pathlib import Path

from events.catalogue import (
    ORDER,
    InventoryReleased,
    InventoryReleaseRequested,
    InventoryReservationRequested,
    PaymentFailed,
    PaymentRequested,
)
from tests.integration.order_service.driver import OtherServices, place, place_and_reserve, until_it_is
from tests.support.broker import Broker
from tests.support.services import ServiceProcess, run_service, stand_in_for_others


async def test_a_nudged_order_asks_again_under_the_same_id(
    service: ServiceProcess, others: OtherServices
) -> None:
    order_id = await place_and_reserve(service, others)
    answer = service.http.post(f"/orders/{order_id}/nudge")
    assert answer.status_code == 202, answer.text
    assert answer.json() == {"published": [{"orderId": order_id, "type": "PaymentRequested"}]}
    asked = await others.payment.receive_a(PaymentRequested, order_id)
    service.http.post(f"/orders/{order_id}/nudge")
    assert await others.payment.receive_a(PaymentRequested, order_id) == asked
    await others.publish_event(PaymentFailed(order_id=order_id, reason="declined"))
    await others.inventory.receive_a(InventoryReleaseRequested, order_id)
    await others.publish_event(InventoryReleased(order_id=order_id))
    await until_it_is(service, order_id, "failed")
    assert service.http.post(f"/orders/{order_id}/nudge").json() == {"published": []}


async def test_a_nudge_of_all_orders_repeats_each_unanswered_request(
    service: ServiceProcess, others: OtherServices
) -> None:
    waiting = {await place(service, others), await place(service, others)}
    published = service.http.post("/nudge").json()["published"]
    assert waiting <= {question["orderId"] for question in published}
    for question in published:
        asked = others.payment if question["type"].startswith("Payment") else others.inventory
        await asked.receive()


def test_a_nudge_of_an_unknown_order_is_not_found(service: ServiceProcess) -> None:
    assert service.http.post("/orders/unknown/nudge").status_code == 404


async def test_an_order_that_gets_no_answer_asks_again_by_itself(
    broker: Broker, mongodb_url: str, tmp_path: Path
) -> None:
    with run_service(ORDER, broker.url, mongodb_url, tmp_path, nudge_after="0.5") as service:
        async with broker.connected() as client:
            others = OtherServices(client, await stand_in_for_others(client, ORDER))
            service.wait_ready()
            order_id = await place(service, others)
            first = await others.inventory.receive_a(InventoryReservationRequested, order_id)
            assert await others.inventory.receive_a(InventoryReservationRequested, order_id) == first
