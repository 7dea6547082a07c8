"""Wake-ups on a real broker and database: what no message does is done, whatever crashes."""

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

import pytest

from events.catalogue import INVENTORY, ORDER
from local_stack.proxy import proxy_to
from saga.errors import Unavailable
from saga.messaging.message import Message
from saga.rabbitmq.client import BrokerClient
from tests.integration.timers.driver import (
    DEADLINE,
    NUDGE_AFTER,
    RELAY_AFTER,
    Neighbours,
    OrderReplica,
    Stores,
    Watched,
    connected,
    in_background,
)
from tests.support.broker import Broker, Client
from tests.support.clock import Clock

REQUEST = "InventoryReservationRequested"
RELEASE = "InventoryReleaseRequested"


async def test_events_of_a_dead_process_are_published_in_time(
    stores: Stores, rabbit: BrokerClient, clock: Clock, neighbours: Neighbours
) -> None:
    placed = await OrderReplica(stores, rabbit, clock).place(3)
    another = OrderReplica(stores, rabbit, clock)
    clock.advance(RELAY_AFTER - 0.1)
    await another.wake_ups.sweep()
    assert await neighbours.received() == []
    clock.advance(0.1)
    await another.wake_ups.sweep()
    assert sorted(await neighbours.received()) == sorted((REQUEST, order_id) for order_id in placed)
    for order_id in placed:
        entry = await another.entry(order_id)
        assert (entry.version, entry.unpublished, entry.wake_at) == (2, [], entry.nudge_at)
    clock.advance(RELAY_AFTER)
    await OrderReplica(stores, rabbit, clock).wake_ups.sweep()
    assert await neighbours.received() == []


async def test_nothing_is_changed_while_the_broker_is_unreachable(
    broker: Broker, stores: Stores, clock: Clock, neighbours: Neighbours
) -> None:
    port = urlsplit(broker.url).port or 0
    async with (
        proxy_to(port) as network,
        connected(broker.url.replace(f":{port}", f":{network.port}"), ORDER) as rabbit,
    ):
        replica = OrderReplica(stores, rabbit, clock)
        [late] = await replica.place()
        clock.advance(DEADLINE)
        [recent] = await replica.place()
        clock.advance(RELAY_AFTER)
        before = [await replica.entry(order_id) for order_id in (late, recent)]
        await network.refuse()
        for _ in range(3):
            with pytest.raises(Unavailable):
                await replica.wake_ups.sweep()
        with pytest.raises(Unavailable):
            await replica.relay.publish_handed_over()
        assert [await replica.entry(order_id) for order_id in (late, recent)] == before
        assert await neighbours.received() == []
        async with in_background(replica.relay.run(), replica.wake_ups.run(every=0.05)):
            await network.heal()
            arrived = [await neighbours.receive() for _ in range(3)]
        assert {(event.type, event.order_id) for event in arrived} == {
            (REQUEST, late),
            (REQUEST, recent),
            (RELEASE, late),
        }
        assert (await replica.state(late)).status == "compensating"


async def test_a_broker_outage_repeats_nothing_afterwards(
    broker: Broker, stores: Stores, clock: Clock, neighbours: Neighbours
) -> None:
    port = urlsplit(broker.url).port or 0
    async with (
        proxy_to(port) as network,
        connected(broker.url.replace(f":{port}", f":{network.port}"), ORDER) as rabbit,
    ):
        replica = OrderReplica(stores, rabbit, clock)
        async with in_background(replica.relay.run(), replica.wake_ups.run(every=0.05)):
            await network.refuse()
            placed = await replica.place(20)
            clock.advance(RELAY_AFTER)
            await network.heal()
            arrived = {(await neighbours.receive()).order_id for _ in placed}
            assert arrived == set(placed)
            [last] = await replica.place()
            assert (await neighbours.receive()).order_id == last
        assert await neighbours.received() == []


async def test_a_wake_up_that_was_overtaken_starts_over(
    stores: Stores, rabbit: BrokerClient, clock: Clock, neighbours: Neighbours
) -> None:
    publisher = Watched(rabbit)
    one, other = OrderReplica(stores, publisher, clock), OrderReplica(stores, rabbit, clock)
    [order_id] = await one.place()
    clock.advance(RELAY_AFTER)

    async def overtake() -> None:
        publisher.before = None
        await other.cancel(order_id)

    publisher.before = overtake
    await one.wake_ups.sweep()
    assert (await one.entry(order_id)).version == 2
    assert (await one.state(order_id)).status == "compensating"
    assert await one.unpublished(order_id) == [REQUEST, RELEASE]
    clock.advance(RELAY_AFTER)
    await one.wake_ups.sweep()
    # The request has been seen to be published, whatever the stale write would have said of it.
    assert await neighbours.received() == [(REQUEST, order_id), (RELEASE, order_id)]
    assert await one.unpublished(order_id) == []


async def test_two_replicas_wake_one_order_without_harm(
    stores: Stores, rabbit: BrokerClient, clock: Clock, neighbours: Neighbours
) -> None:
    meeting = asyncio.Barrier(2)
    publisher = Watched(rabbit, meeting.wait)
    replicas = [OrderReplica(stores, publisher, clock) for _ in range(2)]
    [order_id] = await replicas[0].place()
    clock.advance(RELAY_AFTER)
    async with asyncio.timeout(20):
        await asyncio.gather(*(replica.wake_ups.sweep() for replica in replicas))
    first, second = await neighbours.receive(), await neighbours.receive()
    assert first == second
    assert (await replicas[0].entry(order_id)).version == 2
    publisher.before = None
    clock.advance(RELAY_AFTER)
    for replica in replicas:
        await replica.wake_ups.sweep()
    assert await neighbours.received() == []


async def test_two_replicas_give_up_an_order_once(
    stores: Stores, rabbit: BrokerClient, clock: Clock, neighbours: Neighbours
) -> None:
    replicas = [OrderReplica(stores, rabbit, clock) for _ in range(2)]
    placed = await replicas[0].place(10)
    await replicas[0].relay.publish_handed_over()
    assert len(await neighbours.received()) == 10
    clock.advance(DEADLINE)
    await asyncio.gather(*(replica.wake_ups.sweep() for replica in replicas))
    for replica in replicas:
        await replica.relay.publish_handed_over()
    released = [order_id for kind, order_id in await neighbours.received() if kind == RELEASE]
    assert sorted(released) == sorted(placed)


async def test_an_unreadable_document_does_not_hide_the_others(
    stores: Stores, rabbit: BrokerClient, clock: Clock, neighbours: Neighbours
) -> None:
    replica = OrderReplica(stores, rabbit, clock)
    stateless, garbled, sound = [(await replica.place())[0] for _ in range(3)]
    collection = replica.store.collection
    await collection.update_one({"_id": stateless}, {"$set": {"state": {}}})
    await collection.update_one({"_id": garbled}, {"$set": {"journal.0.emitted": ["no event"]}})
    clock.advance(RELAY_AFTER)
    await OrderReplica(stores, rabbit, clock).wake_ups.sweep()
    assert await neighbours.received() == [(REQUEST, sound)]
    assert await replica.unpublished(sound) == []
    clock.advance(NUDGE_AFTER)
    await OrderReplica(stores, rabbit, clock).wake_ups.sweep()
    assert await neighbours.received() == [(REQUEST, sound)]


@pytest.mark.usefixtures("neighbours")
async def test_the_longest_overdue_are_woken_first_in_batches(
    stores: Stores, rabbit: BrokerClient, clock: Clock, client: Client
) -> None:
    replica = OrderReplica(stores, rabbit, clock)
    waves: list[list[str]] = []
    for _ in range(5):
        waves.append(await replica.place(50))
        clock.advance(0.1)
    clock.advance(RELAY_AFTER)
    sent: list[list[str]] = []

    class Counting(Watched):
        async def send(self, messages: Sequence[Message]) -> None:
            sent.append([str(message.correlation_id) for message in messages])
            await super().send(messages)

    await OrderReplica(stores, Counting(rabbit), clock).wake_ups.sweep()
    assert [set(batch) for batch in sent] == [
        {*waves[0], *waves[1]},
        {*waves[2], *waves[3]},
        {*waves[4]},
    ]
    assert await client.depth(INVENTORY) == 250
    assert await replica.application.due() == []


async def test_what_cannot_be_published_holds_up_nothing_else(
    stores: Stores,
    rabbit: BrokerClient,
    clock: Clock,
    neighbours: Neighbours,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("saga.timers.wake_ups.BATCH", 1)
    replica = OrderReplica(stores, rabbit, clock)
    [returned] = await replica.place()
    clock.advance(DEADLINE)
    [sound] = await replica.place()
    clock.advance(RELAY_AFTER)

    class Returning(Watched):
        async def send(self, messages: Sequence[Message]) -> None:
            if any(message.correlation_id == returned for message in messages):
                raise Unavailable("returned")
            await super().send(messages)

    with pytest.raises(Unavailable):
        await OrderReplica(stores, Returning(rabbit), clock).wake_ups.sweep()
    assert await neighbours.received() == [(REQUEST, sound)]
    assert (await replica.state(returned)).status == "compensating"
    assert await replica.unpublished(returned) == [REQUEST, RELEASE]


@pytest.mark.usefixtures("neighbours")
async def test_a_nudge_waits_while_a_reader_is_behind(
    stores: Stores, rabbit: BrokerClient, clock: Clock, client: Client
) -> None:
    replica = OrderReplica(stores, rabbit, clock)
    crowd = await replica.place(101)
    await replica.relay.publish_handed_over()
    clock.advance(RELAY_AFTER)
    await replica.wake_ups.sweep()
    clock.advance(NUDGE_AFTER)
    await replica.wake_ups.sweep()
    assert await client.depth(INVENTORY) == len(crowd)
    postponed = await replica.entry(crowd[0])
    assert postponed.wake_at is not None
    assert (postponed.wake_at - clock()).total_seconds() == NUDGE_AFTER
    assert postponed.nudges == 0
    await (await client.channel.get_queue(INVENTORY, ensure=False)).purge()
    clock.advance(NUDGE_AFTER)
    await replica.wake_ups.sweep()
    assert await client.depth(INVENTORY) == len(crowd)
    assert (await replica.entry(crowd[0])).nudges == 1


async def test_each_nudge_waits_twice_as_long(
    stores: Stores, rabbit: BrokerClient, clock: Clock, neighbours: Neighbours
) -> None:
    replica = OrderReplica(stores, rabbit, clock)
    [order_id] = await replica.place()
    await replica.relay.publish_handed_over()
    assert await neighbours.received() == [(REQUEST, order_id)]
    for pause in (NUDGE_AFTER, 2 * NUDGE_AFTER, 4 * NUDGE_AFTER):
        clock.advance(pause - 0.1)
        await replica.wake_ups.sweep()
        assert await neighbours.received() == []
        clock.advance(0.1)
        await replica.wake_ups.sweep()
        assert await neighbours.received() == [(REQUEST, order_id)]
