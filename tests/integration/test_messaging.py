"""Messages over a real broker: read in batches, published confirmed, retried, put away, resumed."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from events.catalogue import (
    INVENTORY,
    ORDER,
    PAYMENT,
    Event,
    InventoryConfirmationRequested,
    InventoryConfirmed,
)
from events.codec import MAX_BYTES, decode, encode
from events.identity import derived_id
from local_stack.proxy import proxy_to
from saga import metrics
from saga.clock import utc_now
from saga.errors import Unavailable
from saga.messaging import consumer as consumer
from saga.messaging import poison
from saga.messaging.consumer import BatchConsumer
from saga.messaging.message import ATTEMPTS, EVENT_ID, ORIGIN_KEY, REASON, Delivery, read_event, to_message
from saga.messaging.results import Deferred, Handled, Handler, Result, Retry
from saga.messaging.topology import QUARANTINE_KEY, Topology
from saga.rabbitmq.client import BrokerClient
from saga.rabbitmq.declare import bind_events, declare_bound
from saga.rabbitmq.publisher import missing_queues
from tests.support.broker import Broker, Client, Neighbour, until

SERVICE = Topology(
    INVENTORY,
    reacts_to=["InventoryConfirmationRequested"],
    publishes=["InventoryConfirmed"],
    delays=(0.05, 0.1),
)
ASKER = Topology(ORDER, reacts_to=["InventoryConfirmed"], publishes=["InventoryConfirmationRequested"])
KEY = "InventoryConfirmationRequested.o-1"


def request(order_id: str = "o-1", event_id: str | None = None) -> InventoryConfirmationRequested:
    return InventoryConfirmationRequested(
        event_id=event_id or uuid4().hex,
        correlation_id=order_id,
        occurred_at=utc_now(),
        order_id=order_id,
    )


def answer(event: Event) -> InventoryConfirmed:
    return InventoryConfirmed(
        event_id=derived_id(str(event.event_id), "InventoryConfirmed"),
        correlation_id=event.correlation_id,
        causation_id=event.event_id,
        occurred_at=utc_now(),
        order_id=event.order_id,
    )


class Confirming:
    """A handler that answers every request, and remembers the batches it was given."""

    def __init__(self) -> None:
        self.batches: list[list[Event]] = []

    @property
    def handled(self) -> list[str]:
        return [event.order_id for batch in self.batches for event in batch]

    async def __call__(self, events: Sequence[Event]) -> Sequence[Result]:
        self.batches.append(list(events))
        return [Handled([answer(event)]) for event in events]


async def all_available() -> None:
    return None


@asynccontextmanager
async def serving(
    broker: Broker,
    handle: Handler,
    available: Callable[[], Awaitable[None]] = all_available,
    topology: Topology = SERVICE,
    url: str | None = None,
    **options: float,
) -> AsyncIterator[BrokerClient]:
    """A service that handles its events with this handler, until the block ends."""
    rabbit = BrokerClient(url or broker.url, topology, drain_timeout=5, **options)  # type: ignore[arg-type]
    consumers = [BatchConsumer(topology, handle, available, quarantined=alone) for alone in (False, True)]
    running = asyncio.create_task(rabbit.run(consumers))
    try:
        yield rabbit
    finally:
        await rabbit.stop()
        await asyncio.wait_for(running, 10)


@pytest.fixture
async def client(broker: Broker) -> AsyncIterator[Client]:
    async with broker.connected() as client:
        yield client


@pytest.fixture
async def asker(client: Client) -> Neighbour:
    """The order service's place at the broker: it asks, and takes the answers."""
    asker = await client.stand_in_for(ASKER)
    await client.channel.declare_exchange("inventory.events", "topic", durable=True)
    await asker.bind()
    return asker


async def ask(client: Client, *events: Event) -> None:
    await asyncio.gather(
        *(
            client.publish(
                "order.events",
                f"{event.type}.{event.correlation_id}",
                encode(event),
                message_id=event.event_id,
            )
            for event in events
        )
    )


async def declare_the_service(client: Client) -> None:
    """Let messages wait for a service that does not run yet."""
    await (await client.stand_in_for(SERVICE)).bind()


async def reading(rabbit: BrokerClient) -> None:
    await until(lambda: rabbit.reading, "the service reads its queues")


async def test_an_event_comes_in_and_its_answer_goes_out(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    async with serving(broker, Confirming()) as rabbit:
        await reading(rabbit)
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


async def test_what_waits_is_handed_over_in_batches_and_a_single_event_at_once(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    confirming = Confirming()
    async with serving(broker, confirming) as rabbit:
        await reading(rabbit)
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


async def until_depth(client: Client, queue: str, depth: int) -> None:
    async def there() -> bool:
        return await client.depth(queue) == depth

    await until(there, f"{depth} messages in {queue}")


async def test_the_same_answer_twice_in_a_batch_is_published_once(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    confirming = Confirming()
    await declare_the_service(client)
    same = request()
    await ask(client, same, same)
    async with serving(broker, confirming):
        await until(lambda: len(confirming.handled) == 2, "both are handled")
    assert len(confirming.batches) == 1
    assert await client.depth(ORDER) == 1


async def test_a_service_waits_for_its_neighbours_and_starts_when_they_come(
    broker: Broker, client: Client
) -> None:
    confirming = Confirming()
    async with serving(broker, confirming) as rabbit:
        await until(
            lambda: rabbit.waits_for == ["order.events", ORDER, ASKER.quarantine_queue],
            "it waits for the order service",
        )
        assert not rabbit.reading
        asker = await client.stand_in_for(ASKER)
        await asker.bind()
        await reading(rabbit)
        assert rabbit.waits_for == []
        await ask(client, request())
        assert (await asker.receive()).order_id == "o-1"


BAD = {
    "no JSON": (KEY, b"{", "not JSON"),
    "not UTF-8": (KEY, b"\xff", "not JSON"),
    "no event": (KEY, b'{"type":"Nonsense"}', "type: 'Nonsense' is no event"),
    "a field is missing": (KEY, b'{"type":"InventoryConfirmationRequested"}', "orderId: Field required"),
    "an id is too long": (
        KEY,
        json.dumps({"type": "InventoryConfirmationRequested", "orderId": "x" * 65}).encode(),
        "orderId: String should match pattern",
    ),
    "another type than the key says": (
        KEY,
        b'{"type":"InventoryReleaseRequested","orderId":"o-1","reason":"r"}',
        "type: InventoryReleaseRequested came with the routing key",
    ),
    "nested too deeply": (KEY, b"[" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_message_is_put_away_with_the_reason_and_the_next_one_is_handled(
    broker: Broker, client: Client, asker: Neighbour, case: str
) -> None:
    key, body, reason = BAD[case]
    async with serving(broker, Confirming()) as rabbit:
        await reading(rabbit)
        await client.publish("order.events", key, body, message_id="bad-1")
        await ask(client, request())
        assert (await asker.receive()).order_id == "o-1"
        dead = await client.get("inventory_service.dead")
        await dead.ack()
    assert reason in str(dead.headers[REASON])
    assert dead.headers[ORIGIN_KEY] == key
    assert dead.body == body
    assert dead.message_id == "bad-1"
    assert await client.depth(INVENTORY) == 0


async def test_an_event_that_comes_through_another_services_exchange_is_put_away(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    async with serving(broker, Confirming()) as rabbit:
        await reading(rabbit)
        await client.channel.declare_exchange("payment.events", "topic", durable=True)
        queue = await client.channel.get_queue(INVENTORY, ensure=False)
        await queue.bind("payment.events", "#")
        await client.publish("payment.events", KEY, encode(request()))
        dead = await client.get("inventory_service.dead")
        await dead.ack()
    assert "came through payment.events, not order.events" in str(dead.headers[REASON])


async def test_a_failed_message_comes_back_after_a_pause_with_its_id_and_its_attempts(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    seen: list[str | None] = []

    async def second_time_lucky(events: Sequence[Event]) -> Sequence[Result]:
        seen.extend(event.event_id for event in events)
        return [Handled([answer(events[0])]) if len(seen) > 1 else Retry("not yet")]

    async with serving(broker, second_time_lucky) as rabbit:
        await reading(rabbit)
        bare = b'{"type":"InventoryConfirmationRequested","orderId":"o-1"}'
        await client.publish("order.events", "InventoryConfirmationRequested", bare)
        assert (await asker.receive()).causation_id == seen[0]
    assert len(seen) == 2
    assert seen[0] == seen[1]


async def test_a_message_out_of_attempts_is_put_away_and_holds_up_nobody(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    tries: list[str] = []

    async def never_for_o_1(events: Sequence[Event]) -> Sequence[Result]:
        tries.extend(event.order_id for event in events)
        return [Retry("no luck") if event.order_id == "o-1" else Handled([answer(event)]) for event in events]

    async with serving(broker, never_for_o_1) as rabbit:
        await reading(rabbit)
        await ask(client, request("o-1"), request("o-2"))
        assert (await asker.receive()).order_id == "o-2"
        dead = await client.get("inventory_service.dead")
        await dead.ack()
    assert tries.count("o-1") == 1 + len(SERVICE.delays)
    assert dead.headers[REASON] == "out of attempts: no luck"
    assert dead.headers[ATTEMPTS] == len(SERVICE.delays)
    assert dead.headers[EVENT_ID] == decode(dead.body).event_id


async def test_a_message_in_a_long_pause_holds_up_neither_the_others_nor_a_shorter_pause(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    tries: list[str] = []

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        tries.extend(event.order_id for event in events)
        return [
            Handled([answer(event)])
            if event.order_id == "fine" or tries.count(event.order_id) > enough[event.order_id]
            else Retry("not yet")
            for event in events
        ]

    enough = {"long": 2, "short": 1}
    topology = replace(SERVICE, delays=(0.05, 600.0))
    async with serving(broker, handle, topology=topology) as rabbit:
        await reading(rabbit)
        await ask(client, request("long"))
        await until_depth(client, f"{topology.retry_exchange}.600000ms", 1)
        await ask(client, request("short"), request("fine"))
        assert {(await asker.receive()).order_id for _ in range(2)} == {"short", "fine"}
    assert tries.count("long") == tries.count("short") == 2
    assert await client.depth(f"{topology.retry_exchange}.600000ms") == 1
    assert await client.depth(topology.dead_letter_queue) == 0


async def test_while_something_is_away_nothing_is_read_and_no_attempt_is_spent(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    there = False
    calls = 0

    async def available() -> None:
        if not there:
            raise Unavailable("away")

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        nonlocal calls
        calls += 1
        await available()
        return [Handled([answer(event)]) for event in events]

    async with serving(broker, handle, available) as rabbit:
        await reading(rabbit)
        await ask(client, request())
        await until(lambda: not rabbit.reading, "reading pauses")
        await until_depth(client, INVENTORY, 1)
        assert calls == 1
        there = True
        assert (await asker.receive()).order_id == "o-1"
        await reading(rabbit)
    assert calls == 2
    assert await client.depth("inventory_service.dead") == 0


async def test_a_message_that_was_redelivered_often_is_read_alone_and_still_handled(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    confirming = Confirming()
    await declare_the_service(client)
    await ask(client, request("suspect"))
    await die_with_a_message(broker, INVENTORY, 2)
    async with serving(broker, confirming) as rabbit:
        await reading(rabbit)
        assert (await asker.receive()).order_id == "suspect"
    assert await client.depth("inventory_service.dead") == 0
    assert confirming.handled == ["suspect"]


async def test_the_message_that_kills_its_reader_even_when_read_alone_is_put_away(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    confirming = Confirming()
    await declare_the_service(client)
    await client.publish(
        SERVICE.retry_exchange,
        QUARANTINE_KEY,
        encode(request("killer")),
        headers={"x-saga-exchange": "order.events", ORIGIN_KEY: KEY},
    )
    await die_with_a_message(broker, SERVICE.quarantine_queue, 3)
    async with serving(broker, confirming):
        dead = await client.get("inventory_service.dead")
        await dead.ack()
    assert "died each time" in str(dead.headers[REASON])
    assert confirming.handled == []


async def test_a_suspect_is_not_blamed_while_something_is_away(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    tries = 0

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        nonlocal tries
        tries += 1
        if tries < 6:
            raise Unavailable("away, but only when it is used")
        return [Handled([answer(event)]) for event in events]

    await declare_the_service(client)
    await ask(client, request("suspect"))
    await die_with_a_message(broker, INVENTORY, 2)
    async with serving(broker, handle):
        assert (await asker.receive()).order_id == "suspect"
    assert await client.depth("inventory_service.dead") == 0


async def test_a_suspect_whose_verdict_does_not_come_is_blamed_by_no_replica(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    tries = 0

    async def later(event: Event) -> Handled:
        nonlocal tries
        tries += 1
        if tries < 12:
            raise Unavailable("away, but only when the answer is to be saved")
        return Handled([answer(event)])

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        return [Deferred(asyncio.ensure_future(later(event))) for event in events]

    await declare_the_service(client)
    await ask(client, request("suspect"))
    await die_with_a_message(broker, INVENTORY, 2)
    async with serving(broker, handle), serving(broker, handle):
        assert (await asker.receive()).order_id == "suspect"
    assert await client.depth("inventory_service.dead") == 0


async def test_an_impossible_id_in_a_header_is_ignored(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    confirming = Confirming()
    async with serving(broker, confirming) as rabbit:
        await reading(rabbit)
        bare = b'{"type":"InventoryConfirmationRequested","orderId":"o-1"}'
        await client.publish("order.events", KEY, bare, headers={EVENT_ID: "a.b.c"})
        await asker.receive()
    assert confirming.batches[0][0].event_id != "a.b.c"


async def test_a_bad_message_with_odd_properties_is_put_away_like_any_other(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    odd = {
        "timestamp": 1732000000000000,
        "headers": {"x": 1e300, "CC": ["inventory_service"], "x-saga-routing-key": "k" * 300},
    }
    async with serving(broker, Confirming()) as rabbit:
        await reading(rabbit)
        broker.publish_manually("order.events", KEY, "{", odd)
        await ask(client, request())
        assert (await asker.receive()).order_id == "o-1"
        dead = await client.get("inventory_service.dead")
        await dead.ack()
    assert "not JSON" in str(dead.headers[REASON])
    assert "CC" not in dead.headers


async def test_a_message_that_cannot_be_read_for_an_unforeseen_reason_is_put_away_at_once(
    broker: Broker, client: Client, asker: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unforeseen(delivery: Delivery, *others: Any, **named: Any) -> Event:
        if delivery.message_id == "unforeseen":
            raise OverflowError("nobody thought of this")
        return read_event(delivery, *others, **named)

    monkeypatch.setattr(consumer, "read_event", unforeseen)
    await declare_the_service(client)
    await client.publish("order.events", KEY, b"{}", message_id="unforeseen")
    await ask(client, request())
    confirming = Confirming()
    async with serving(broker, confirming) as rabbit:
        await reading(rabbit)
        assert (await asker.receive()).order_id == "o-1"
        dead = await client.get("inventory_service.dead")
        await dead.ack()
    assert (dead.message_id, dead.headers[ATTEMPTS]) == ("unforeseen", 0)
    assert "OverflowError" in str(dead.headers[REASON])
    assert confirming.batches
    assert dead.headers.get("x-delivery-count", 0) == 0


async def test_a_message_that_is_too_long_is_put_away_by_the_broker(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    confirming = Confirming()
    async with serving(broker, confirming) as rabbit:
        await reading(rabbit)
        await client.publish("order.events", KEY, b" " * (MAX_BYTES + 1), message_id="giant")
        await ask(client, request())
        assert (await asker.receive()).order_id == "o-1"
        dead = await client.get("inventory_service.dead")
        await dead.ack()
    assert (dead.message_id, len(dead.body)) == ("giant", MAX_BYTES + 1)
    assert REASON not in dead.headers
    assert await client.depth("inventory_service") == 0


async def die_with_a_message(broker: Broker, queue: str, times: int) -> None:
    """Take a message and lose the connection. (Giving it back would not count as a death on RabbitMQ 4.3.)"""
    for _ in range(times):
        async with broker.connected() as reader:
            await reader.get(queue)


async def test_reading_resumes_by_itself_after_the_connection_was_cut(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    async with serving(broker, Confirming()) as rabbit:
        await reading(rabbit)
        assert await broker.cut_connections(INVENTORY) == 2
        await until(lambda: not rabbit.reading, "the cut is noticed")
        await ask(client, request())
        assert (await asker.receive()).order_id == "o-1"
        await reading(rabbit)


async def test_work_resumes_by_itself_after_only_the_publishing_connection_was_cut(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    async with serving(broker, Confirming()) as rabbit:
        await reading(rabbit)
        assert await broker.cut_connections(f"{INVENTORY} publish") == 1
        await until(lambda: not rabbit.reading, "the cut is noticed")
        await ask(client, request())
        assert (await asker.receive()).order_id == "o-1"
        await reading(rabbit)


async def test_work_resumes_by_itself_after_the_network_fell_silent_while_something_was_published(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    async with proxy_to(urlsplit(broker.url).port or 0) as network:
        url = f"amqp://guest:guest@127.0.0.1:{network.port}/{broker.vhost}?heartbeat=1"
        async with serving(broker, Confirming(), url=url, publish_timeout=60) as rabbit:
            await reading(rabbit)
            network.stall()
            publishing = asyncio.create_task(rabbit.send([to_message(answer(request("o-2")))]))
            await until(lambda: not rabbit.reading, "the silence is noticed", limit=60)
            with pytest.raises(Unavailable):
                await asyncio.wait_for(publishing, 20)
            await network.heal()
            await reading(rabbit)
            await ask(client, request())
            assert (await asker.receive()).order_id in ("o-1", "o-2")


async def test_reading_resumes_after_somebody_deleted_the_queue(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    async with serving(broker, Confirming()) as rabbit:
        await reading(rabbit)
        await client.channel.queue_delete(INVENTORY)
        await until(lambda: not rabbit.reading, "the loss is noticed")
        await reading(rabbit)
        await ask(client, request())
        assert (await asker.receive()).order_id == "o-1"


async def test_what_no_queue_takes_counts_as_broker_not_ready(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    async with serving(broker, Confirming()) as rabbit:
        await reading(rabbit)
        await client.channel.queue_delete(ORDER)
        with pytest.raises(Unavailable, match="no queue takes"):
            await rabbit.send([to_message(answer(request()))])
        await ask(client, request())
        await until(lambda: not rabbit.reading, "reading pauses")
        asker = await client.stand_in_for(ASKER)
        await asker.bind()
        assert (await asker.receive()).order_id == "o-1"


async def test_publishing_without_a_connection_fails_at_once(broker: Broker) -> None:
    rabbit = BrokerClient(broker.url, SERVICE)
    with pytest.raises(Unavailable, match="not connected"):
        await rabbit.send([to_message(answer(request()))])


@pytest.mark.parametrize("later", [False, True], ids=["handled slowly", "answered later"])
async def test_a_stop_finishes_what_was_taken_and_leaves_the_rest(
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

    async with serving(broker, handle) as rabbit:
        await reading(rabbit)
        await ask(client, request("first"))
        await taken.wait()
        stopping = asyncio.create_task(rabbit.stop())
        await until(lambda: not rabbit.reading, "it takes nothing more")
        await ask(client, request("second"))
        go_on.set()
        await stopping
    assert (await asker.receive()).order_id == "first"
    assert await client.depth(ORDER) == 0
    assert await client.depth(INVENTORY) == 1


async def test_a_stop_while_something_is_away_is_quick(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    stopping: asyncio.Task[None] | None = None

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        nonlocal stopping
        stopping = asyncio.create_task(rabbit.stop())
        await until(lambda: not rabbit.reading, "it takes nothing more")
        raise Unavailable("away")

    async with asyncio.timeout(20), serving(broker, handle) as rabbit:
        await reading(rabbit)
        await ask(client, request())
        await until(lambda: stopping is not None, "it is handled")
    await until_depth(client, INVENTORY, 1)


async def test_a_verdict_that_comes_later_holds_up_nobody(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    slow_answer: asyncio.Future[Handled | Retry] = asyncio.get_running_loop().create_future()

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        return [
            Deferred(slow_answer) if event.order_id == "slow" else Handled([answer(event)])
            for event in events
        ]

    async with serving(broker, handle) as rabbit:
        await reading(rabbit)
        slow = request("slow")
        await ask(client, slow)
        await ask(client, request("quick"))
        assert (await asker.receive()).order_id == "quick"
        slow_answer.set_result(Handled([answer(slow)]))
        assert (await asker.receive()).order_id == "slow"
    assert await client.depth(INVENTORY) == 0


async def test_a_verdict_that_fails_to_come_is_tried_again_and_then_put_away(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    async def fail() -> Handled:
        raise RuntimeError("never mind")

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        return [Deferred(asyncio.ensure_future(fail())) for _ in events]

    async with serving(broker, handle) as rabbit:
        await reading(rabbit)
        await ask(client, request())
        dead = await client.get("inventory_service.dead")
        await dead.ack()
    assert "never mind" in str(dead.headers[REASON])


async def test_while_its_answer_cannot_be_published_a_late_verdict_waits_and_is_not_blamed(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    go_on = asyncio.Event()

    async def later(event: Event) -> Handled:
        await go_on.wait()
        return Handled([answer(event)])

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        return [Deferred(asyncio.ensure_future(later(event))) for event in events]

    async with serving(broker, handle) as rabbit:
        await reading(rabbit)
        await ask(client, request())
        await client.channel.queue_delete(ORDER)
        go_on.set()
        asker = await client.stand_in_for(ASKER)
        await asker.bind()
        assert (await asker.receive()).order_id == "o-1"
    assert await client.depth("inventory_service.dead") == 0


async def test_a_batch_that_cannot_be_handled_together_is_handled_one_by_one(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    async def allergic(events: Sequence[Event]) -> Sequence[Result]:
        if any(event.order_id == "bad" for event in events):
            raise RuntimeError("cannot stand this one")
        return [Handled([answer(event)]) for event in events]

    await declare_the_service(client)
    await ask(client, request("good"), request("bad"), request("better"))
    async with serving(broker, allergic):
        answers = [(await asker.receive()).order_id for _ in range(2)]
        dead = await client.get("inventory_service.dead")
        await dead.ack()
    assert sorted(answers) == ["better", "good"]
    assert "cannot stand this one" in str(dead.headers[REASON])


@pytest.mark.parametrize("service", [ORDER, INVENTORY, PAYMENT])
async def test_declaring_again_changes_nothing(broker: Broker, client: Client, service: str) -> None:
    topology = Topology(service, reacts_to=[], publishes=[])
    await client.stand_in_for(topology)
    await client.publish(topology.dead_letter_queue, "kept", b"kept")
    await client.stand_in_for(topology)
    assert await client.depth(topology.dead_letter_queue) == 1


async def test_a_question_to_the_broker_may_be_cancelled_at_any_moment(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    async with serving(broker, Confirming()) as rabbit:
        await reading(rabbit)

        async def ask_on() -> None:
            while True:
                await rabbit.check()

        for number in range(150):
            asking = asyncio.create_task(ask_on())
            await asyncio.sleep(number * 0.0001)
            asking.cancel()
            done, _ = await asyncio.wait([asking], timeout=20)
            assert done, f"it does not end, {number / 10} ms after it began"
            assert asking.cancelled(), asking.exception()
        assert rabbit.reading
        await ask(client, request())
        assert (await asker.receive()).order_id == "o-1"


async def test_questions_to_the_broker_leave_nothing_behind(client: Client, asker: Neighbour) -> None:
    connection = client.connection
    await declare_the_service(client)

    async def ask_everything() -> int:
        assert await missing_queues(connection, [INVENTORY, "nobody"]) == ["nobody"]
        assert await bind_events(connection, SERVICE) == []
        await declare_bound(connection, SERVICE)
        assert connection.transport is not None
        left: Any = connection.transport.connection
        return len(left._closing._callbacks or ())

    once = await ask_everything()
    assert [await ask_everything() for _ in range(5)] == [once] * 5


def quarantine() -> float:
    """Return how many messages were set aside in this process so far."""
    return float(metrics.quarantined(INVENTORY)._value.get())


async def test_what_was_given_back_in_many_outages_is_no_suspect(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    outages = 4

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        nonlocal outages
        if outages:
            outages -= 1
            raise Unavailable("away, but only when it is used")
        return [Handled([answer(event)]) for event in events]

    before = quarantine()
    await declare_the_service(client)
    await ask(client, *(request(f"o-{number}") for number in range(5)))
    async with serving(broker, handle):
        assert {(await asker.receive()).order_id for _ in range(5)} == {f"o-{number}" for number in range(5)}
    assert outages == 0
    assert quarantine() == before


async def test_what_was_given_back_in_very_many_outages_is_not_put_away_by_the_broker(
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
            raise Unavailable("away, but only when it is used")
        return [Handled([answer(event)]) for event in events]

    await declare_the_service(client)
    await ask(client, *(request(f"o-{number}") for number in range(5)))
    async with serving(broker, handle):
        assert {(await asker.receive()).order_id for _ in range(5)} == {f"o-{number}" for number in range(5)}
    assert outages == 0
    assert await client.depth(SERVICE.dead_letter_queue) == 0


@pytest.mark.parametrize("queue", [INVENTORY, SERVICE.quarantine_queue])
async def test_what_was_held_when_connections_were_lost_has_killed_nobody(
    broker: Broker, client: Client, asker: Neighbour, queue: str
) -> None:
    go_on = asyncio.Event()
    calls = 0

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        nonlocal calls
        calls += 1
        await go_on.wait()
        return [Handled([answer(event)]) for event in events]

    before = quarantine()
    await declare_the_service(client)
    key, exchange = (KEY, "order.events") if queue == INVENTORY else (QUARANTINE_KEY, SERVICE.retry_exchange)
    origin = {"x-saga-exchange": "order.events", ORIGIN_KEY: KEY}
    await client.publish(exchange, key, encode(request()), message_id="e-1", headers=origin)
    async with serving(broker, handle) as rabbit:
        for lost in range(1, 5):
            await until(lambda lost=lost: calls == lost, f"it is held for the {lost}. time")
            assert await broker.cut_connections(INVENTORY)
            await until(lambda: not rabbit.reading, "the cut is noticed")
        go_on.set()
        assert (await asker.receive()).order_id == "o-1"
    assert await client.depth("inventory_service.dead") == 0
    assert quarantine() == before
