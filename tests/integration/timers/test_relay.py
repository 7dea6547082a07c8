"""The relay on a real broker and database: what no message would publish again is published."""

import pytest

from events.catalogue import INVENTORY, InventoryReservationFailed
from saga.errors import Unavailable
from saga.rabbitmq.client import BrokerClient
from tests.integration.timers.driver import (
    RELAY_AFTER,
    Neighbours,
    OrderReplica,
    Stores,
    Watched,
    in_background,
)
from tests.support.builders import event
from tests.support.clock import Clock

REQUEST = "InventoryReservationRequested"
RELEASE = "InventoryReleaseRequested"


async def test_a_saved_event_is_published_at_once(
    stores: Stores, rabbit: BrokerClient, clock: Clock, neighbours: Neighbours
) -> None:
    replica = OrderReplica(stores, rabbit, clock)
    async with in_background(replica.relay.run()):
        for _ in range(3):
            [order_id] = await replica.place()
            received = await neighbours.receive(INVENTORY)
            assert (received.type, received.order_id) == (REQUEST, order_id)
    assert await neighbours.received() == []


async def test_the_mark_is_saved_with_the_next_write(
    stores: Stores, rabbit: BrokerClient, clock: Clock, neighbours: Neighbours
) -> None:
    replica = OrderReplica(stores, rabbit, clock)
    [order_id] = await replica.place()
    await replica.relay.publish_handed_over()
    saved = await replica.entry(order_id)
    assert (saved.version, [one.type for one in saved.unpublished]) == (1, [REQUEST])
    failed = event(InventoryReservationFailed, order_id=order_id, correlation_id=order_id)
    [_] = await replica.application.handle([failed])
    ended = await replica.entry(order_id)
    assert (ended.version, ended.unpublished, ended.wake_at) == (2, [], None)


async def test_a_mark_without_a_next_write_has_its_own(
    stores: Stores, rabbit: BrokerClient, clock: Clock, neighbours: Neighbours
) -> None:
    replica = OrderReplica(stores, rabbit, clock)
    [order_id] = await replica.place()
    await replica.relay.publish_handed_over()
    clock.advance(RELAY_AFTER)
    await replica.wake_ups.sweep()
    entry = await replica.entry(order_id)
    assert (entry.version, entry.unpublished, entry.wake_at) == (2, [], entry.nudge_at)
    assert await neighbours.received() == [(REQUEST, order_id)]


async def test_a_mark_counts_for_one_event_only(
    stores: Stores, rabbit: BrokerClient, clock: Clock, neighbours: Neighbours
) -> None:
    replica = OrderReplica(stores, rabbit, clock)
    [order_id] = await replica.place()
    await replica.relay.publish_handed_over()
    await replica.cancel(order_id)
    assert await replica.unpublished(order_id) == [RELEASE]
    clock.advance(RELAY_AFTER)
    await OrderReplica(stores, rabbit, clock).wake_ups.sweep()
    assert await neighbours.received() == [(REQUEST, order_id), (RELEASE, order_id)]
    assert await replica.unpublished(order_id) == []


async def test_an_unconfirmed_event_is_not_marked(
    stores: Stores, rabbit: BrokerClient, clock: Clock, neighbours: Neighbours
) -> None:
    async def lose_the_broker() -> None:
        raise Unavailable("the broker is down")

    publisher = Watched(rabbit, lose_the_broker)
    replica = OrderReplica(stores, publisher, clock)
    [order_id] = await replica.place()
    with pytest.raises(Unavailable):
        await replica.relay.publish_handed_over()
    publisher.before = None
    await replica.cancel(order_id)
    assert await replica.unpublished(order_id) == [REQUEST, RELEASE]
    clock.advance(RELAY_AFTER)
    await replica.wake_ups.sweep()
    assert await neighbours.received() == [(REQUEST, order_id), (RELEASE, order_id)]


async def test_an_event_with_a_lost_mark_is_published_again(
    stores: Stores, rabbit: BrokerClient, clock: Clock, neighbours: Neighbours
) -> None:
    dead = OrderReplica(stores, rabbit, clock)
    [order_id] = await dead.place()
    await dead.relay.publish_handed_over()
    first = await neighbours.receive(INVENTORY)
    clock.advance(RELAY_AFTER)
    await OrderReplica(stores, rabbit, clock).wake_ups.sweep()
    assert await neighbours.receive(INVENTORY) == first
    assert first.order_id == order_id


async def test_events_beyond_the_limit_wait_for_their_wake_up(
    stores: Stores,
    rabbit: BrokerClient,
    clock: Clock,
    neighbours: Neighbours,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("saga.timers.relay.HANDED_OVER_LIMIT", 5)
    replica = OrderReplica(stores, rabbit, clock)
    placed = await replica.place(12)
    await replica.relay.publish_handed_over()
    at_once = {order_id for _, order_id in await neighbours.received()}
    assert len(at_once) == 5
    clock.advance(RELAY_AFTER)
    await replica.wake_ups.sweep()
    later = [order_id for _, order_id in await neighbours.received()]
    assert sorted(later) == sorted(set(placed) - at_once)
