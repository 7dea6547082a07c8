"""Whole sagas whose payments are made by (a stand-in for) Xendit and reported by its webhooks."""

from collections.abc import AsyncIterator, Iterator

import pytest

from local_stack.stack import Stack
from tests.support.broker import BrokerAddress, until, virtual_host
from tests.support.system import System, fresh_settings, running
from tests.support.xendit import KEY, TOKEN, Json, StandIn, send, stand_in


@pytest.fixture(scope="module")
def xendit() -> Iterator[StandIn]:
    with stand_in() as standing_in:
        yield standing_in


@pytest.fixture(scope="module")
async def system(
    xendit: StandIn, broker_node: BrokerAddress, mongodb_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    """The services, with Xendit in the place of the simulated provider."""
    with virtual_host(broker_node) as broker:
        env = {
            "RABBITMQ_URL": broker.url,
            "RABBITMQ_MANAGEMENT_URL": broker_node.management_url,
            "MONGODB_URL": mongodb_url,
            "PAYMENT_PROVIDER": "xendit",
            "PAYMENT_XENDIT_SECRET_KEY": KEY,
            "PAYMENT_XENDIT_CALLBACK_TOKEN": TOKEN,
            "PAYMENT_XENDIT_URL": xendit.url,
            **fresh_settings(),
        }
        stack = Stack(tmp_path_factory.mktemp("xendit"), env=env)
        async with running(stack, env) as running_system:
            yield running_system


async def placed(system: System, xendit: StandIn, method: str) -> tuple[str, str, Json]:
    """Place an order; return its product and id, and the payment request that waits for its customer."""
    product = await system.stock(north=5)
    order_id = await system.place(
        product, 2, totalAmount="150000", currency="IDR", paymentMethod=method, expiresIn=48 * 3600
    )
    await until(lambda: bool(xendit.of(f"order-{order_id}")), "the customer can pay", limit=60)
    (made,) = xendit.of(f"order-{order_id}")
    return product, order_id, made


async def test_an_order_is_confirmed_once_its_customer_has_paid(system: System, xendit: StandIn) -> None:
    product, order_id, made = await placed(system, xendit, "BRI_VIRTUAL_ACCOUNT")
    assert made["request_amount"] == 150000
    hold = await system.get(f"{system.at.inventory}/reservations/{order_id}")
    assert made["channel_properties"]["expires_at"] == hold["expiresAt"]
    xendit.pay(made["payment_request_id"])
    for _ in range(2):
        assert send(system.at.payment, xendit.payment_event(made)).status_code == 200
    assert (await system.ended(order_id))["status"] == "confirmed"
    assert await system.levels(product) == {"north": (3, 0, 2)}
    report = await system.audited([order_id], product)
    assert (report.broken, report.judged) == ({}, 1)


async def test_a_cancelled_order_is_cancelled_at_xendit(system: System, xendit: StandIn) -> None:
    product, order_id, made = await placed(system, xendit, "GCASH")
    assert (await system.post(f"{system.at.order}/orders/{order_id}/cancel")).status_code == 202
    assert (await system.ended(order_id))["status"] == "cancelled"
    assert made["status"] == "CANCELED"
    assert await system.levels(product) == {"north": (5, 0, 0)}


async def test_a_failed_payment_releases_the_stock(system: System, xendit: StandIn) -> None:
    product, order_id, made = await placed(system, xendit, "GCASH")
    xendit.fail(made["payment_request_id"], "INSUFFICIENT_BALANCE")
    assert send(system.at.payment, xendit.payment_event(made, "payment.failure")).status_code == 200
    order = await system.ended(order_id)
    assert (order["status"], order["reason"]) == ("failed", "insufficient_balance")
    assert await system.levels(product) == {"north": (5, 0, 0)}
