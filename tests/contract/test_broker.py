"""What the services rely on of a broker, asked of the real one and of the one in memory alike."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

from events.catalogue import INVENTORY, ORDER, InventoryConfirmed, InventoryReservationRequested, OrderCreated
from events.encoded import EncodedEvent
from operations.registry import TOPOLOGIES
from saga.errors import Unavailable
from saga.messaging.message import Delivery, Message, dead_lettered, delayed, for_quarantine, to_message
from saga.messaging.subscription import Subscription
from saga.messaging.topology import DELIVERY_LIMIT, Topology
from tests.contract.broker_drivers import BrokerDriver, MemoryBrokerDriver, RabbitBrokerDriver
from tests.support.broker import until
from tests.support.builders import event

LIMIT = 60.0
SILENCE = 0.3
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ORDERS: Topology = TOPOLOGIES[ORDER]


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.servers)])
async def broker_driver(request: pytest.FixtureRequest) -> AsyncIterator[BrokerDriver]:
    if request.param == "memory":
        yield MemoryBrokerDriver()
        return
    rabbit = RabbitBrokerDriver(request.getfixturevalue("broker").url)
    await rabbit.declare()
    yield rabbit
    await rabbit.close()


def confirmed(order_id: str = "o-1", event_id: str = "e-1") -> Message:
    return to_message(EncodedEvent.of(event(InventoryConfirmed, event_id, order_id=order_id)))


async def taken(subscription: Subscription, count: int = 1) -> list[Delivery]:
    """Take so many deliveries, waiting for them."""
    found: list[Delivery] = []
    async with asyncio.timeout(LIMIT):
        while len(found) < count:
            found += await subscription.take(count - len(found))
    return found


async def nothing(subscription: Subscription) -> bool:
    """Return whether nothing comes for a while."""
    try:
        async with asyncio.timeout(SILENCE):
            return not await subscription.take(1)
    except TimeoutError:
        return True


async def test_a_message_arrives_as_it_was_sent(broker_driver: BrokerDriver) -> None:
    connection = await broker_driver.connect()
    message = confirmed()
    await connection.publisher.send([message])
    [delivery] = await taken(await connection.read(ORDERS.queue))
    assert (delivery.exchange, delivery.routing_key, delivery.body) == (
        message.exchange,
        message.routing_key,
        message.body,
    )
    assert (delivery.message_id, delivery.correlation_id, delivery.type) == ("e-1", "c-1", message.type)
    assert (delivery.app_id, delivery.redeliveries) == (INVENTORY, 0)
    assert message.headers.items() <= delivery.headers.items()


async def test_an_event_goes_to_every_service_that_reacts_to_it(broker_driver: BrokerDriver) -> None:
    connection = await broker_driver.connect()
    request = event(InventoryReservationRequested)
    await connection.publisher.send([to_message(EncodedEvent.of(request))])
    for service in (ORDER, INVENTORY):
        [delivery] = await taken(await connection.read(TOPOLOGIES[service].queue))
        assert delivery.type == request.type


async def test_a_routing_key_needs_no_correlation_id(broker_driver: BrokerDriver) -> None:
    connection = await broker_driver.connect()
    await connection.publisher.send([Message(TOPOLOGIES[INVENTORY].exchange, "InventoryConfirmed", b"{}")])
    [delivery] = await taken(await connection.read(ORDERS.queue))
    assert delivery.routing_key == "InventoryConfirmed"


async def test_only_unacknowledged_messages_are_redelivered(broker_driver: BrokerDriver) -> None:
    connection = await broker_driver.connect()
    await connection.publisher.send(
        [confirmed("o-1", "e-1"), confirmed("o-2", "e-2"), confirmed("o-3", "e-3")]
    )
    subscription = await connection.read(ORDERS.queue)
    deliveries = await taken(subscription, 3)
    await subscription.ack([one for one in deliveries if one.message_id == "e-2"])
    await (
        subscription.pause()
    )  # Its answer comes on the same channel: what was acknowledged before has arrived.
    await connection.cut()
    again = await taken(await (await broker_driver.connect()).read(ORDERS.queue), 2)
    assert {(one.message_id, one.redeliveries) for one in again} == {("e-1", 1), ("e-3", 1)}


async def test_requeued_message_is_redelivered(broker_driver: BrokerDriver) -> None:
    connection = await broker_driver.connect()
    await connection.publisher.send([confirmed()])
    subscription = await connection.read(ORDERS.queue)
    for _ in range(3):
        [delivery] = await taken(subscription)
        assert delivery.message_id == "e-1"
        await subscription.requeue([delivery])


async def test_messages_are_settled_in_any_order(broker_driver: BrokerDriver) -> None:
    connection = await broker_driver.connect()
    subscription = await connection.read(ORDERS.queue)
    await connection.publisher.send([confirmed(f"o-{number}", f"e-{number}") for number in range(190)])
    deliveries = await taken(subscription, 190)
    kept: set[str | None] = set()
    settling: list[Coroutine[Any, Any, None]] = []
    for number, delivery in enumerate(deliveries):
        # Some of the oldest are settled last, so that acknowledgements of many come between single ones.
        back = number % 3 == 0
        settling.insert(number % 7, (subscription.requeue if back else subscription.ack)([delivery]))
        kept |= {delivery.message_id} if back else set()
    await asyncio.gather(*settling)
    again = await taken(subscription, len(kept))
    assert {delivery.message_id for delivery in again} == kept
    await subscription.ack(again)
    await (
        subscription.pause()
    )  # Its answer comes on the same channel: what was acknowledged before has arrived.
    await connection.cut()
    assert await nothing(await (await broker_driver.connect()).read(ORDERS.queue))


async def test_prefetch_limits_unacknowledged_messages(broker_driver: BrokerDriver) -> None:
    connection = await broker_driver.connect()
    subscription = await connection.read(ORDERS.queue, prefetch=1)
    await connection.publisher.send([confirmed("o-1", "e-1"), confirmed("o-2", "e-2")])
    [first] = await taken(subscription)
    assert await nothing(subscription)
    await subscription.ack([first])
    [second] = await taken(subscription)
    assert {first.message_id, second.message_id} == {"e-1", "e-2"}


async def test_the_broker_dead_letters_after_too_many_redeliveries(broker_driver: BrokerDriver) -> None:
    await (await broker_driver.connect()).publisher.send([confirmed()])
    for _ in range(DELIVERY_LIMIT + 1):
        connection = await broker_driver.connect()
        await taken(await connection.read(ORDERS.queue))
        await connection.cut()
    connection = await broker_driver.connect()
    [dead_letter] = await taken(await connection.read(ORDERS.dead_letter_queue))
    assert dead_letter.message_id == "e-1"
    assert await nothing(await connection.read(ORDERS.queue))


async def test_redeliveries_after_crashes_are_counted(broker_driver: BrokerDriver) -> None:
    await (await broker_driver.connect()).publisher.send([confirmed()])
    for crashes in range(3):
        connection = await broker_driver.connect()
        [delivery] = await taken(await connection.read(ORDERS.queue))
        assert delivery.redeliveries == crashes
        await connection.cut()


async def test_a_paused_reader_requeues_what_it_has_not_taken(broker_driver: BrokerDriver) -> None:
    connection = await broker_driver.connect()
    paused = await connection.read(ORDERS.queue)
    await connection.publisher.send([confirmed()])
    await until(lambda: bool(paused.unacknowledged), "the message is delivered")
    await paused.pause()
    assert await nothing(paused)
    [delivery] = await taken(await connection.read(ORDERS.queue))
    assert delivery.message_id == "e-1"


async def test_a_reader_that_resumes_gets_what_waits(broker_driver: BrokerDriver) -> None:
    connection = await broker_driver.connect()
    subscription = await connection.read(ORDERS.queue)
    await subscription.pause()
    await connection.publisher.send([confirmed()])
    assert await nothing(subscription)
    await subscription.resume()
    [delivery] = await taken(subscription)
    assert delivery.message_id == "e-1"


async def test_a_stopped_reader_ends_and_settles_what_it_has_taken(broker_driver: BrokerDriver) -> None:
    connection = await broker_driver.connect()
    subscription = await connection.read(ORDERS.queue)
    await connection.publisher.send([confirmed("o-1", "e-1"), confirmed("o-2", "e-2")])
    [first] = await taken(subscription)
    await connection.stop_reading()
    assert subscription.closed
    async with asyncio.timeout(LIMIT):
        assert await subscription.take(1) == []
    await subscription.ack([first])
    await subscription.resume()
    [other] = await taken(await (await broker_driver.connect()).read(ORDERS.queue))
    assert {first.message_id, other.message_id} == {"e-1", "e-2"}
    assert other.redeliveries <= 1, "requeueing counts before RabbitMQ 4.3"


async def test_readers_of_one_queue_share_its_messages(broker_driver: BrokerDriver) -> None:
    connection = await broker_driver.connect()
    await connection.publisher.send([confirmed(f"o-{number}", f"e-{number}") for number in range(10)])
    one, other = await connection.read(ORDERS.queue), await (await broker_driver.connect()).read(ORDERS.queue)
    found: list[str | None] = []
    async with asyncio.timeout(LIMIT):
        while len(found) < 10:
            for subscription in (one, other):
                try:
                    async with asyncio.timeout(0.05):
                        found += [delivery.message_id for delivery in await subscription.take(10)]
                except TimeoutError:
                    continue
    assert sorted(found, key=str) == sorted((f"e-{number}" for number in range(10)), key=str)


async def test_unroutable_mandatory_message_is_refused(broker_driver: BrokerDriver) -> None:
    connection = await broker_driver.connect()
    await connection.publisher.send([to_message(EncodedEvent.of(event(OrderCreated)))])
    with pytest.raises(Unavailable):
        await connection.publisher.send([Message(ORDERS.exchange, "NobodyHandlesThis", b"{}")])


async def test_a_lost_connection_sends_nothing(broker_driver: BrokerDriver) -> None:
    connection = await broker_driver.connect()
    await connection.cut()
    with pytest.raises(Unavailable):
        await connection.publisher.send([confirmed()])
    with pytest.raises(Unavailable):
        await connection.publisher.check()


async def test_a_delayed_message_returns_with_its_origin(broker_driver: BrokerDriver) -> None:
    connection = await broker_driver.connect()
    subscription = await connection.read(ORDERS.queue)
    complete = event(InventoryConfirmed)
    await connection.publisher.send([to_message(EncodedEvent.of(complete))])
    [delivery] = await taken(subscription)
    await connection.publisher.send([delayed(delivery, ORDERS, complete, "not yet", NOW)])
    await subscription.ack([delivery])
    clock = asyncio.get_running_loop().time
    started = clock()
    [again] = await taken(subscription)
    assert clock() - started > ORDERS.delays[0] / 2
    assert (again.exchange, again.attempts, again.redeliveries) == (ORDERS.return_exchange, 1, 0)
    assert again.headers["x-saga-routing-key"] == delivery.routing_key


async def test_quarantined_and_dead_lettered_copies_arrive(broker_driver: BrokerDriver) -> None:
    connection = await broker_driver.connect()
    subscription = await connection.read(ORDERS.queue)
    await connection.publisher.send([confirmed()])
    [delivery] = await taken(subscription)
    await connection.publisher.send(
        [for_quarantine(delivery, ORDERS, NOW), dead_lettered(delivery, ORDERS, "no event", NOW)]
    )
    [quarantined] = await taken(await connection.read(ORDERS.quarantine_queue))
    [dead_letter] = await taken(await connection.read(ORDERS.dead_letter_queue))
    assert quarantined.body == dead_letter.body == delivery.body
    assert dead_letter.headers["x-saga-reason"] == "no event"
