"""Every way a saga can go, from outside, on real parts: the table of scenarios, and what it cannot say."""

import json
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from tests.support.scenarios import Results, play_scenarios
from tests.support.system import System
from verification.scenarios.scenario import Scenario
from verification.scenarios.table import SCENARIOS


@pytest.fixture(scope="module")
async def results(system: System) -> Results:
    """The results of all scenarios, which are played at the same time."""
    return await play_scenarios(system)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_scenario_ends_as_expected(results: Results, scenario: Scenario) -> None:
    assert results[scenario.name].problems == []


async def test_stock_is_held_as_long_as_the_customer_may_pay(system: System) -> None:
    product = await system.stock(north=5)
    order_id = await system.place(product, 2, expiresIn=48 * 3600, paymentMethod="sim:pending:2")
    payment = await system.services.payment_pending(order_id, within=60)
    order = await system.services.order(order_id)
    hold = await system.get(f"{system.at.inventory}/reservations/{order_id}")
    held_until = datetime.fromisoformat(hold["expiresAt"])
    assert datetime.fromisoformat(order["deadline"]) == held_until + timedelta(minutes=5)
    assert held_until - datetime.fromisoformat(order["createdAt"]) > timedelta(hours=47)
    assert payment["expiresAt"] == hold["expiresAt"]
    assert [action["kind"] for action in payment["actions"]] == ["redirect"]
    assert (await system.ended(order_id))["status"] == "confirmed"


async def test_rejected_refund_waits_for_an_operator(system: System) -> None:
    product = await system.stock(north=5)
    order_id = await system.place(product, 1, expiresIn=1, paymentMethod="sim:delay:2:refuse-refund:6")
    order = await system.until_status(order_id, "refundPending")
    assert (order["awaiting"], order["refundFailure"]) == (["refund"], "refused")
    # Each is an attempt, made at once; by themselves they would become rare.
    while (await system.payment(order_id))["status"] != "refunded":
        assert (await system.post(f"{system.at.payment}/payments/{order_id}/refund")).status_code == 202
    assert (await system.ended(order_id))["status"] == "failed"
    assert (await system.payment(order_id))["status"] == "refunded"


async def test_request_published_again_changes_nothing(system: System) -> None:
    product = await system.stock(north=5)
    order_id = f"o-{uuid4().hex[:8]}"
    payload = {
        "type": "InventoryReservationRequested",
        "orderId": order_id,
        "userId": "u-1",
        "items": [{"productId": product, "quantity": 2}],
        "totalAmount": "25.00",
    }
    await system.publish_manually(json.dumps(payload))
    await system.publish_manually(json.dumps({**payload, "totalAmount": 25.0}))
    assert (await system.ended(order_id))["status"] == "confirmed"
    await system.publish_manually(json.dumps(payload))
    following = await system.ended(await system.place(product, 1))
    assert following["status"] == "confirmed"
    assert await system.levels(product) == {"north": (2, 0, 3)}
    assert (await system.payment(order_id))["amount"] == "25.00"


async def test_bad_message_is_dead_lettered_and_delays_no_order(system: System) -> None:
    before = await system.dead_letters()
    await system.publish_manually('{"type":"InventoryReservationRequested","orderId":"o-1"}')
    product = await system.stock(north=1)
    assert (await system.ended(await system.place(product)))["status"] == "confirmed"
    after = await system.dead_letters()
    assert after["order_service"] == before.get("order_service", 0) + 1
    assert after["inventory_service"] == before.get("inventory_service", 0) + 1
