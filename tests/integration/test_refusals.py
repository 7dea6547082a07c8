"""A service that the broker refuses says what is wrong, and goes on once that is corrected."""

from pathlib import Path

from events.catalogue import INVENTORY, ORDER, PAYMENT, SERVICES
from local_stack.mongodb_node import DatabaseNode
from operations.access.database_users import AUDITOR
from tests.support.broker import Broker, until
from tests.support.services import run_service
from tests.support.users import at, load_users

PAYMENT_REQUESTED = b"""
    {"type": "PaymentRequested", "orderId": "o-1", "userId": "u-1", "amount": "25.00", "currency": "USD",
     "idempotencyKey": "order-o-1"}
"""
ADVICE = "load the output of `saga broker definitions`"


def logged(tmp_path: Path, service: str) -> str:
    return (tmp_path / f"{service}.log").read_text()


async def test_wrong_password_is_reported(broker: Broker, mongodb_url: str, tmp_path: Path) -> None:
    load_users(broker)
    with run_service(PAYMENT, broker.as_user(PAYMENT, "guessed").url, mongodb_url, tmp_path) as service:
        await service.says("ACCESS_REFUSED", "Login was refused", ADVICE)
    assert "guessed" not in logged(tmp_path, PAYMENT)


async def test_missing_permissions_are_reported_until_granted(
    broker: Broker, mongodb_url: str, tmp_path: Path
) -> None:
    load_users(broker)
    broker.grant(PAYMENT, "^$")
    with run_service(PAYMENT, at(broker, PAYMENT).url, mongodb_url, tmp_path) as service:
        await service.says("ACCESS_REFUSED", "access to exchange 'payment.events'", ADVICE)
        load_users(broker)
        service.wait_ready()
    assert '"broker_rejected"' in logged(tmp_path, PAYMENT)


async def test_refused_binding_is_reported(broker: Broker, mongodb_url: str, tmp_path: Path) -> None:
    load_users(broker)
    broker.forbid_topics(PAYMENT, "order.events")
    with run_service(PAYMENT, at(broker, PAYMENT).url, mongodb_url, tmp_path) as service:
        await service.says("ACCESS_REFUSED", "access to topic", ADVICE)


async def test_closed_virtual_host_is_reported(broker: Broker, mongodb_url: str, tmp_path: Path) -> None:
    load_users(broker)
    broker.shut_out(INVENTORY)
    with run_service(INVENTORY, at(broker, INVENTORY).url, mongodb_url, tmp_path) as service:
        await service.says("no such virtual host", ADVICE)


async def test_a_service_with_another_login_checks_no_publisher(
    broker: Broker, mongodb_url: str, tmp_path: Path
) -> None:
    with run_service(PAYMENT, broker.url, mongodb_url, tmp_path) as service:
        await service.says("waiting for")
        await until(lambda: "publishers_unchecked" in logged(tmp_path, PAYMENT), "it says so")


async def test_a_database_that_refuses_the_login_is_reported(broker: Broker, tmp_path: Path) -> None:
    passwords = dict.fromkeys((*SERVICES, AUDITOR), "s3cret")
    node = DatabaseNode(tmp_path / "mongodb", passwords=passwords, databases={PAYMENT: "elsewhere"})
    node.start()
    try:
        node.wait_ready()
        wrong = node.url_of(PAYMENT).replace("s3cret", "guessed")
        for url, why in ((wrong, "authentication failed"), (node.url_of(PAYMENT), "not authorized on")):
            with run_service(PAYMENT, broker.url, url, tmp_path):
                expected = f"the database refuses ({why}"
                await until(
                    lambda expected=expected: expected in logged(tmp_path, PAYMENT), f"it says {expected}"
                )
    finally:
        node.kill()
    assert "guessed" not in logged(tmp_path, PAYMENT)


async def test_an_event_that_may_not_be_published_waits_until_it_may(
    broker: Broker, mongodb_url: str, tmp_path: Path
) -> None:
    load_users(broker)
    broker.forbid_topics(PAYMENT, "payment.events")
    with run_service(PAYMENT, at(broker, PAYMENT).url, mongodb_url, tmp_path) as service:
        service.wait_ready()
        async with at(broker, ORDER).connected() as client:
            await client.publish("order.events", "PaymentRequested.o-1", PAYMENT_REQUESTED, user_id=ORDER)
        await until(lambda: "the broker refuses (ACCESS_REFUSED" in logged(tmp_path, PAYMENT), "it says so")
        load_users(broker)
        async with broker.connected() as client:
            answer = await client.get(ORDER)
            assert answer.type == "PaymentCompleted"
            await answer.ack()
