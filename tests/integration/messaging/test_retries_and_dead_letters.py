"""Messages that cannot be handled: retried after a pause, or dead-lettered with the reason."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from events.catalogue import (
    INVENTORY,
    Event,
)
from events.codec import MAX_BYTES, decode, encode
from saga.messaging import consumer
from saga.messaging.message import ATTEMPTS, EVENT_ID, ORIGIN_KEY, REASON, Delivery, read_event
from saga.messaging.results import Handled, Result, Retry
from tests.support.broker import Broker, Client, Neighbour
from tests.support.confirming_service import (
    KEY,
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

INVALID = {
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


@pytest.mark.parametrize("case", INVALID)
async def test_invalid_message_is_dead_lettered_with_the_reason(
    broker: Broker, client: Client, asker: Neighbour, case: str
) -> None:
    key, body, reason = INVALID[case]
    async with serving(broker, Confirming()) as service:
        await until_reading(service)
        await client.publish("order.events", key, body, message_id="bad-1")
        await ask(client, request())
        assert (await asker.receive()).order_id == "o-1"
        letter = await client.get("inventory_service.dead")
        await letter.ack()
    assert reason in str(letter.headers[REASON])
    assert letter.headers[ORIGIN_KEY] == key
    assert letter.body == body
    assert letter.message_id == "bad-1"
    assert await client.depth(INVENTORY) == 0


async def test_event_from_another_exchange_is_dead_lettered(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    async with serving(broker, Confirming()) as service:
        await until_reading(service)
        await client.channel.declare_exchange("payment.events", "topic", durable=True)
        queue = await client.channel.get_queue(INVENTORY, ensure=False)
        await queue.bind("payment.events", "#")
        await client.publish("payment.events", KEY, encode(request()))
        letter = await client.get("inventory_service.dead")
        await letter.ack()
    assert "came through payment.events, not order.events" in str(letter.headers[REASON])


async def test_failed_message_returns_with_the_same_event_id(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    seen: list[str | None] = []

    async def second_time_lucky(events: Sequence[Event]) -> Sequence[Result]:
        seen.extend(event.event_id for event in events)
        return [Handled([answer(events[0])]) if len(seen) > 1 else Retry("not yet")]

    async with serving(broker, second_time_lucky) as service:
        await until_reading(service)
        bare = b'{"type":"InventoryConfirmationRequested","orderId":"o-1"}'
        await client.publish("order.events", "InventoryConfirmationRequested", bare)
        assert (await asker.receive()).causation_id == seen[0]
    assert len(seen) == 2
    assert seen[0] == seen[1]


async def test_message_out_of_attempts_is_dead_lettered(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    tries: list[str] = []

    async def never_for_o_1(events: Sequence[Event]) -> Sequence[Result]:
        tries.extend(event.order_id for event in events)
        return [Retry("no luck") if event.order_id == "o-1" else Handled([answer(event)]) for event in events]

    async with serving(broker, never_for_o_1) as service:
        await until_reading(service)
        await ask(client, request("o-1"), request("o-2"))
        assert (await asker.receive()).order_id == "o-2"
        letter = await client.get("inventory_service.dead")
        await letter.ack()
    assert tries.count("o-1") == 1 + len(SERVICE.delays)
    assert letter.headers[REASON] == "out of attempts: no luck"
    assert letter.headers[ATTEMPTS] == len(SERVICE.delays)
    assert letter.headers[EVENT_ID] == decode(letter.body).event_id


async def test_long_pause_delays_no_other_message_or_shorter_pause(
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
    async with serving(broker, handle, topology=topology) as service:
        await until_reading(service)
        await ask(client, request("long"))
        await until_depth(client, f"{topology.retry_exchange}.600000ms", 1)
        await ask(client, request("short"), request("fine"))
        assert {(await asker.receive()).order_id for _ in range(2)} == {"short", "fine"}
    assert tries.count("long") == tries.count("short") == 2
    assert await client.depth(f"{topology.retry_exchange}.600000ms") == 1
    assert await client.depth(topology.dead_letter_queue) == 0


async def test_invalid_event_id_in_a_header_is_ignored(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    confirming = Confirming()
    async with serving(broker, confirming) as service:
        await until_reading(service)
        bare = b'{"type":"InventoryConfirmationRequested","orderId":"o-1"}'
        await client.publish("order.events", KEY, bare, headers={EVENT_ID: "a.b.c"})
        await asker.receive()
    assert confirming.batches[0][0].event_id != "a.b.c"


async def test_invalid_message_with_odd_properties_is_dead_lettered(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    odd = {
        "timestamp": 1732000000000000,
        "headers": {"x": 1e300, "CC": ["inventory_service"], "x-saga-routing-key": "k" * 300},
    }
    async with serving(broker, Confirming()) as service:
        await until_reading(service)
        broker.publish_manually("order.events", KEY, "{", odd)
        await ask(client, request())
        assert (await asker.receive()).order_id == "o-1"
        letter = await client.get("inventory_service.dead")
        await letter.ack()
    assert "not JSON" in str(letter.headers[REASON])
    assert "CC" not in letter.headers


async def test_unforeseen_reading_error_dead_letters_at_once(
    broker: Broker, client: Client, asker: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unforeseen(delivery: Delivery, *others: Any, **named: Any) -> Event:
        if delivery.message_id == "unforeseen":
            raise OverflowError("unforeseen")
        return read_event(delivery, *others, **named)

    monkeypatch.setattr(consumer, "read_event", unforeseen)
    await declare_service(client)
    await client.publish("order.events", KEY, b"{}", message_id="unforeseen")
    await ask(client, request())
    confirming = Confirming()
    async with serving(broker, confirming) as service:
        await until_reading(service)
        assert (await asker.receive()).order_id == "o-1"
        letter = await client.get("inventory_service.dead")
        await letter.ack()
    assert (letter.message_id, letter.headers[ATTEMPTS]) == ("unforeseen", 0)
    assert "OverflowError" in str(letter.headers[REASON])
    assert confirming.batches
    assert letter.headers.get("x-delivery-count", 0) == 0


async def test_too_long_message_is_dead_lettered_by_the_broker(
    broker: Broker, client: Client, asker: Neighbour
) -> None:
    confirming = Confirming()
    async with serving(broker, confirming) as service:
        await until_reading(service)
        await client.publish("order.events", KEY, b" " * (MAX_BYTES + 1), message_id="giant")
        await ask(client, request())
        assert (await asker.receive()).order_id == "o-1"
        letter = await client.get("inventory_service.dead")
        await letter.ack()
    assert (letter.message_id, len(letter.body)) == ("giant", MAX_BYTES + 1)
    assert REASON not in letter.headers
    assert await client.depth("inventory_service") == 0
