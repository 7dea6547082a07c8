"""A broker or a dependency that is unavailable: nothing is lost, and work resumes without help."""

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest

from events.catalogue import (
    INVENTORY,
    ORDER,
    Event,
)
from local_stack.proxy import proxy_to
from saga.errors import Unavailable
from saga.messaging.message import to_message
from saga.messaging.results import Deferred, Handled, Result
from saga.rabbitmq.client import BrokerClient
from saga.rabbitmq.declare import bind_events, declare_bound
from saga.rabbitmq.publisher import missing_queues
from tests.support.broker import Broker, Client, Neighbour, until
from tests.support.confirming_service import (
    ASKER,
    SERVICE,
    Confirming,
    answer,
    ask,
    declare_service,
    request,
    serving,
    until_depth,
    until_reading,
)


async def test_outage_pauses_reading_and_costs_no_attempt(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    there = False
    calls = 0

    async def available() -> None:
        if not there:
            raise Unavailable("unavailable")

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        nonlocal calls
        calls += 1
        await available()
        return [Handled([answer(event)]) for event in events]

    async with serving(broker, handle, available) as service:
        await until_reading(service)
        await ask(client, request())
        await until(lambda: not service.reading, "reading pauses")
        await until_depth(client, INVENTORY, 1)
        assert calls == 1
        there = True
        assert (await asker.receive()).order_id == "o-1"
        await until_reading(service)
    assert calls == 2
    assert await client.depth("inventory_service.dead") == 0


async def test_reading_resumes_after_a_cut_connection(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    async with serving(broker, Confirming()) as service:
        await until_reading(service)
        await broker.cut_connections(INVENTORY, 2)
        await until(lambda: not service.reading, "the cut is noticed")
        await ask(client, request())
        assert (await asker.receive()).order_id == "o-1"
        await until_reading(service)


async def test_work_resumes_after_a_cut_publishing_connection(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    async with serving(broker, Confirming()) as service:
        await until_reading(service)
        await broker.cut_connections(f"{INVENTORY} publish")
        await until(lambda: not service.reading, "the cut is noticed")
        await ask(client, request())
        assert (await asker.receive()).order_id == "o-1"
        await until_reading(service)


async def test_work_resumes_after_a_silent_network_during_publishing(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    async with proxy_to(urlsplit(broker.url).port or 0) as network:
        url = f"amqp://guest:guest@127.0.0.1:{network.port}/{broker.vhost}?heartbeat=1"
        async with serving(broker, Confirming(), url=url, publish_timeout=60) as service:
            await until_reading(service)
            network.stall()
            publishing = asyncio.create_task(service.send([to_message(answer(request("o-2")))]))
            await until(lambda: not service.reading, "the silence is noticed", limit=60)
            with pytest.raises(Unavailable):
                await asyncio.wait_for(publishing, 20)
            await network.heal()
            await until_reading(service)
            await ask(client, request())
            assert (await asker.receive()).order_id in ("o-1", "o-2")


async def test_reading_resumes_after_its_queue_was_deleted(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    async with serving(broker, Confirming()) as service:
        await until_reading(service)
        await client.channel.queue_delete(INVENTORY)
        await until(lambda: not service.reading, "the loss is noticed")
        await until_reading(service)
        await ask(client, request())
        assert (await asker.receive()).order_id == "o-1"


async def test_unroutable_message_counts_as_unavailable_broker(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    async with serving(broker, Confirming()) as service:
        await until_reading(service)
        await client.channel.queue_delete(ORDER)
        with pytest.raises(Unavailable, match="no queue takes"):
            await service.send([to_message(answer(request()))])
        await ask(client, request())
        await until(lambda: not service.reading, "reading pauses")
        asker = await client.stand_in_for(ASKER)
        await asker.bind()
        assert (await asker.receive()).order_id == "o-1"


async def test_publishing_without_a_connection_fails_at_once(broker: Broker) -> None:
    service = BrokerClient(broker.url, SERVICE)
    with pytest.raises(Unavailable, match="not connected"):
        await service.send([to_message(answer(request()))])


async def test_deferred_result_waits_until_it_can_be_published(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    go_on = asyncio.Event()

    async def decide(event: Event) -> Handled:
        await go_on.wait()
        return Handled([answer(event)])

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        return [Deferred(asyncio.ensure_future(decide(event))) for event in events]

    async with serving(broker, handle) as service:
        await until_reading(service)
        await ask(client, request())
        await client.channel.queue_delete(ORDER)
        go_on.set()
        asker = await client.stand_in_for(ASKER)
        await asker.bind()
        assert (await asker.receive()).order_id == "o-1"
    assert await client.depth("inventory_service.dead") == 0


async def test_broker_call_may_be_cancelled_at_any_moment(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    async with serving(broker, Confirming()) as service:
        await until_reading(service)

        async def ask_on() -> None:
            while True:
                await service.check()

        for number in range(150):
            asking = asyncio.create_task(ask_on())
            await asyncio.sleep(number * 0.0001)
            asking.cancel()
            done, _ = await asyncio.wait([asking], timeout=20)
            assert done, f"it does not end, {number / 10} ms after it began"
            assert asking.cancelled(), asking.exception()
        assert service.reading
        await ask(client, request())
        assert (await asker.receive()).order_id == "o-1"


async def test_broker_calls_leave_no_callbacks_behind(client: Client, asker: Neighbour) -> None:
    connection = client.connection
    await declare_service(client)

    async def ask_everything() -> int:
        assert await missing_queues(connection, [INVENTORY, "missing"]) == ["missing"]
        assert await bind_events(connection, SERVICE) == []
        await declare_bound(connection, SERVICE)
        assert connection.transport is not None
        left: Any = connection.transport.connection
        # The library shows its callbacks nowhere else.
        return len(left._closing._callbacks or ())

    once = await ask_everything()
    assert [await ask_everything() for _ in range(5)] == [once] * 5
