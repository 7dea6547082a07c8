"""What the payment service does while its events cannot be published, or the database is down."""

import asyncio
from uuid import uuid4

from events.catalogue import PaymentCompleted, PaymentRefunded
from local_stack.mongodb_node import DatabaseNode
from tests.integration.payment_service.driver import body
from tests.support.payment_driver import PRICE, PaymentDriver, refund, request
from tests.support.services import ServiceProcess, check_problem


async def test_an_answer_is_published_once_the_broker_takes_it(payments: PaymentDriver) -> None:
    asked = request("sim:delay:0.2")
    await payments.close_order()
    await payments.publish_event(asked)
    await payments.until_it_is(asked.order_id, "charged")
    await payments.open_order()
    await payments.order.receive_a(PaymentCompleted, asked.order_id)


async def test_a_refund_made_for_another_message_is_published(payments: PaymentDriver) -> None:
    asked = request("sim:delay:0.2", event_id=uuid4().hex)
    refund_request = refund(asked.order_id, uuid4().hex)
    await payments.close_order()
    await asyncio.gather(payments.publish_event(asked), payments.publish_event(refund_request))
    await payments.until_it_is(asked.order_id, "refunded")
    await payments.open_order()
    refunded = await payments.order.receive_a(PaymentRefunded, asked.order_id)
    assert (refunded.amount, refunded.causation_id) == (PRICE, refund_request.event_id)


async def test_without_the_database_nothing_is_charged(
    payments: PaymentDriver, service: ServiceProcess, database: DatabaseNode
) -> None:
    settled = payments.http.post("/payments", json=body(currency="ZAR")).json()["orderId"]
    in_flight = [request(currency="ZAR") for _ in range(20)]
    direct = body(currency="ZAR")
    await asyncio.gather(*(payments.publish_event(asked) for asked in in_flight))
    database.kill()
    try:
        calls = (
            ("POST", "/payments", direct),
            ("GET", f"/payments/{settled}", None),
            ("POST", f"/payments/{settled}/refund", None),
            ("GET", "/books", None),
        )
        for answer in await asyncio.gather(
            *(
                asyncio.to_thread(service.http.request, method, path, json=sent)
                for method, path, sent in calls
            )
        ):
            check_problem(answer, 503)
            assert answer.headers["retry-after"]
    finally:
        database.start()
        await asyncio.to_thread(database.wait_ready)
    # Events not known to be published are published again: by the redelivery of the message, or by the relay.
    payments.once = False
    answers = await payments.receive_each(20)
    assert {type(event) for event in answers.values()} == {PaymentCompleted}
    assert answers.keys() == {asked.order_id for asked in in_flight}
    check_problem(payments.http.get(f"/payments/{direct['orderId']}"), 404)
    assert payments.payment(settled)["status"] == "charged"
    assert payments.books("ZAR") == ("525.00", "0.00")
