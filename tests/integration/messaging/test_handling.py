"""Batches of messages over a real broker: handled, published confirmed, acknowledged."""

import asyncio
from collections.abc import Sequence

import pytest

from events.catalogue import (
    INVENTORY,
    ORDER,
    PAYMENT,
    Event,
    InventoryConfirmed,
)
from events.codec import decode
from saga.errors import Unavailable
from saga.messaging.message import REASON
from saga.messaging.results import Deferred, Handled, Result, Retry
from saga.messaging.topology import Topology
from tests.support.broker import Broker, Client, Neighbour, until
from tests.support.confirming_service import (
    ASKER,
    Confirming,
    answer,
    ask,
    declare_service,
    request,
    serving,
    until_depth,
    until_reading,
)


async def test_event_is_handled_and_its_answer_published(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    async with serving(broker, Confirming()) as service:
        await until_reading(service)
        asked = request()
        await ask(client, asked)
        message = await client.get(ORDER)
        received = decode(message.body)
        await message.ack()
    assert isinstance(received, InventoryConfirmed)
    assert received.causation_id == asked.event_id
    assert message.message_id == received.event_id
    assert message.correlation_id == "o-1"
    assert message.type == "InventoryConfirmed"
    assert message.app_id == INVENTORY
    assert message.content_type == "application/json"
    assert message.delivery_mode == 2
    assert message.routing_key == "InventoryConfirmed.o-1"
    assert str(message.headers["traceparent"]).startswith("00-")
    assert await client.depth(INVENTORY) == 0


async def test_waiting_events_come_in_batches_and_a_single_one_at_once(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    confirming = Confirming()
    async with serving(broker, confirming) as service:
        await until_reading(service)
        await ask(client, request())
        await asker.receive()
        assert [len(batch) for batch in confirming.batches] == [1]
    await ask(client, *(request(f"o-{number}") for number in range(300)))
    async with serving(broker, confirming):
        await until(lambda: len(confirming.handled) == 301, "all are handled")
        await until_depth(client, ORDER, 300)
    sizes = [len(batch) for batch in confirming.batches[1:]]
    assert max(sizes) <= 100
    assert len(sizes) < 150
    assert sorted(confirming.handled[1:]) == sorted(f"o-{number}" for number in range(300))


async def test_same_answer_twice_in_a_batch_is_published_once(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    confirming = Confirming()
    await declare_service(client)
    same = request()
    await ask(client, same, same)
    async with serving(broker, confirming):
        await until(lambda: len(confirming.handled) == 2, "both are handled")
    assert len(confirming.batches) == 1
    assert await client.depth(ORDER) == 1


async def test_service_waits_until_its_neighbours_are_declared(broker: Broker, client: Client) -> None:
    confirming = Confirming()
    async with serving(broker, confirming) as service:
        await until(
            lambda: service.waits_for == ["order.events", ORDER, ASKER.quarantine_queue],
            "it waits for the order service",
        )
        assert not service.reading
        asker = await client.stand_in_for(ASKER)
        await asker.bind()
        await until_reading(service)
        assert service.waits_for == []
        await ask(client, request())
        assert (await asker.receive()).order_id == "o-1"


@pytest.mark.parametrize("later", [False, True], ids=["handled slowly", "answered later"])
async def test_stop_settles_taken_messages_and_leaves_the_rest(
    broker: Broker, client: Client, asker: Neighbour, later: bool
) -> None:
    taken = asyncio.Event()
    go_on = asyncio.Event()

    async def decided(event: Event) -> Handled:
        taken.set()
        await go_on.wait()
        return Handled([answer(event)])

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        if later:
            return [Deferred(asyncio.ensure_future(decided(event))) for event in events]
        return [await decided(event) for event in events]

    async with serving(broker, handle) as service:
        await until_reading(service)
        await ask(client, request("first"))
        await taken.wait()
        stopping = asyncio.create_task(service.stop())
        await until(lambda: not service.reading, "it takes nothing more")
        await ask(client, request("second"))
        go_on.set()
        await stopping
    assert (await asker.receive()).order_id == "first"
    assert await client.depth(ORDER) == 0
    assert await client.depth(INVENTORY) == 1


async def test_stop_during_an_outage_is_quick(broker: Broker, client: Client, asker: Neighbour) -> None:
    stopping: asyncio.Task[None] | None = None

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        nonlocal stopping
        stopping = asyncio.create_task(service.stop())
        await until(lambda: not service.reading, "it takes nothing more")
        raise Unavailable("unavailable")

    async with asyncio.timeout(20), serving(broker, handle, drain_timeout=60) as service:
        await until_reading(service)
        await ask(client, request())
        await until(lambda: stopping is not None, "it is handled")
    await until_depth(client, INVENTORY, 1)


async def test_deferred_result_does_not_delay_other_messages(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    slow_answer: asyncio.Future[Handled | Retry] = asyncio.get_running_loop().create_future()

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        return [
            Deferred(slow_answer) if event.order_id == "slow" else Handled([answer(event)])
            for event in events
        ]

    async with serving(broker, handle) as service:
        await until_reading(service)
        slow = request("slow")
        await ask(client, slow)
        await ask(client, request("quick"))
        assert (await asker.receive()).order_id == "quick"
        slow_answer.set_result(Handled([answer(slow)]))
        assert (await asker.receive()).order_id == "slow"
    assert await client.depth(INVENTORY) == 0


async def test_failing_deferred_result_is_retried_then_dead_lettered(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    async def fail() -> Handled:
        raise RuntimeError("never mind")

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        return [Deferred(asyncio.ensure_future(fail())) for _ in events]

    async with serving(broker, handle) as service:
        await until_reading(service)
        await ask(client, request())
        letter = await client.get("inventory_service.dead")
        await letter.ack()
    assert "never mind" in str(letter.headers[REASON])


async def test_batch_that_fails_is_handled_event_by_event(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    async def failing_for_one(events: Sequence[Event]) -> Sequence[Result]:
        if any(event.order_id == "bad" for event in events):
            raise RuntimeError("fails for this one")
        return [Handled([answer(event)]) for event in events]

    await declare_service(client)
    await ask(client, request("good"), request("bad"), request("better"))
    async with serving(broker, failing_for_one):
        answers = [(await asker.receive()).order_id for _ in range(2)]
        letter = await client.get("inventory_service.dead")
        await letter.ack()
    assert sorted(answers) == ["better", "good"]
    assert "fails for this one" in str(letter.headers[REASON])


@pytest.mark.parametrize("service", [ORDER, INVENTORY, PAYMENT])
async def test_declaring_again_changes_nothing(broker: Broker, client: Client, service: str) -> None:
    topology = Topology(service, reacts_to=[], publishes=[])
    await client.stand_in_for(topology)
    await client.publish(topology.dead_letter_queue, "kept", b"kept")
    await client.stand_in_for(topology)
    assert await client.depth(topology.dead_letter_queue) == 1
