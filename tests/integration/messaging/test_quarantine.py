"""Redelivered messages: quarantined, found to be poison, or known to be harmless."""

import asyncio
from collections.abc import Sequence

import pytest

from events.catalogue import (
    INVENTORY,
    Event,
)
from events.codec import encode
from saga.errors import Unavailable
from saga.messaging import consumer, poison
from saga.messaging.message import ORIGIN_KEY, REASON
from saga.messaging.results import Deferred, Handled, Result
from saga.messaging.topology import QUARANTINE_KEY
from tests.support.broker import Broker, Client, Neighbour, until
from tests.support.confirming_service import (
    KEY,
    SERVICE,
    Confirming,
    answer,
    ask,
    crash_while_reading,
    declare_service,
    quarantined_so_far,
    request,
    serving,
    until_reading,
)


async def test_redelivered_message_is_read_alone_and_handled(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    confirming = Confirming()
    await declare_service(client)
    await ask(client, request("suspect"))
    await crash_while_reading(broker, INVENTORY, 2)
    async with serving(broker, confirming) as service:
        await until_reading(service)
        assert (await asker.receive()).order_id == "suspect"
    assert await client.depth("inventory_service.dead") == 0
    assert confirming.handled == ["suspect"]


async def test_poison_message_is_dead_lettered(broker: Broker, client: Client, asker: Neighbour) -> None:
    confirming = Confirming()
    await declare_service(client)
    await client.publish(
        SERVICE.retry_exchange,
        QUARANTINE_KEY,
        encode(request("poison")),
        headers={"x-saga-exchange": "order.events", ORIGIN_KEY: KEY},
    )
    await crash_while_reading(broker, SERVICE.quarantine_queue, 3)
    async with serving(broker, confirming):
        letter = await client.get("inventory_service.dead")
        await letter.ack()
    assert "crashed each time" in str(letter.headers[REASON])
    assert confirming.handled == []


async def test_outage_does_not_count_against_a_quarantined_message(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    tries = 0

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        nonlocal tries
        tries += 1
        if tries < 6:
            raise Unavailable("unavailable, but only in use")
        return [Handled([answer(event)]) for event in events]

    await declare_service(client)
    await ask(client, request("suspect"))
    await crash_while_reading(broker, INVENTORY, 2)
    async with serving(broker, handle):
        assert (await asker.receive()).order_id == "suspect"
    assert await client.depth("inventory_service.dead") == 0


async def test_missing_deferred_result_counts_against_no_message(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    tries = 0

    async def decide(event: Event) -> Handled:
        nonlocal tries
        tries += 1
        if tries < 12:
            raise Unavailable("unavailable, but only when the answer is saved")
        return Handled([answer(event)])

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        return [Deferred(asyncio.ensure_future(decide(event))) for event in events]

    await declare_service(client)
    await ask(client, request("suspect"))
    await crash_while_reading(broker, INVENTORY, 2)
    async with serving(broker, handle), serving(broker, handle):
        assert (await asker.receive()).order_id == "suspect"
    assert await client.depth("inventory_service.dead") == 0


async def test_requeueing_in_many_outages_does_not_quarantine(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    outages = 4

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        nonlocal outages
        if outages:
            outages -= 1
            raise Unavailable("unavailable, but only in use")
        return [Handled([answer(event)]) for event in events]

    before = quarantined_so_far()
    await declare_service(client)
    await ask(client, *(request(f"o-{number}") for number in range(5)))
    async with serving(broker, handle):
        assert {(await asker.receive()).order_id for _ in range(5)} == {f"o-{number}" for number in range(5)}
    assert outages == 0
    assert quarantined_so_far() == before


async def test_harmless_message_is_republished_before_the_limit(
    broker: Broker, client: Client, asker: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saga.messaging.topology.DELIVERY_LIMIT", 4)
    monkeypatch.setattr(poison, "REPUBLISH_AFTER", 2)
    monkeypatch.setattr(consumer, "LONGEST_PAUSE", 0.1)
    outages = 12

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        nonlocal outages
        if outages:
            outages -= 1
            raise Unavailable("unavailable, but only in use")
        return [Handled([answer(event)]) for event in events]

    await declare_service(client)
    await ask(client, *(request(f"o-{number}") for number in range(5)))
    async with serving(broker, handle):
        assert {(await asker.receive()).order_id for _ in range(5)} == {f"o-{number}" for number in range(5)}
    assert outages == 0
    assert await client.depth(SERVICE.dead_letter_queue) == 0


@pytest.mark.parametrize("queue", [INVENTORY, SERVICE.quarantine_queue])
async def test_lost_connections_do_not_count_as_crashes(
    broker: Broker, client: Client, asker: Neighbour, queue: str
) -> None:
    go_on = asyncio.Event()
    calls = 0

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        nonlocal calls
        calls += 1
        await go_on.wait()
        return [Handled([answer(event)]) for event in events]

    before = quarantined_so_far()
    await declare_service(client)
    key, exchange = (KEY, "order.events") if queue == INVENTORY else (QUARANTINE_KEY, SERVICE.retry_exchange)
    origin = {"x-saga-exchange": "order.events", ORIGIN_KEY: KEY}
    await client.publish(exchange, key, encode(request()), message_id="e-1", headers=origin)
    async with serving(broker, handle) as service:
        for lost in range(1, 5):
            await until(lambda lost=lost: calls == lost, f"it is held for the {lost}. time")
            await broker.cut_connections(INVENTORY, 2)
            await until(lambda: not service.reading, "the cut is noticed")
        go_on.set()
        assert (await asker.receive()).order_id == "o-1"
    assert await client.depth("inventory_service.dead") == 0
    assert quarantined_so_far() == before
