"""`saga dead-letters list` and `show`: looking at dead letters changes nothing."""

import json
from pathlib import Path
from uuid import uuid4

import pytest

from events.catalogue import (
    INVENTORY,
    ORDER,
)
from events.codec import decode, encode
from operations.broker_session import CONNECTION_NAME
from operations.dead_letters.dead_letter import DeadLetterFilter
from operations.dead_letters.queue import opened
from operations.errors import CommandFailed
from saga.messaging.message import ATTEMPTS, REASON
from tests.integration.dead_letters.driver import (
    DATABASE,
    KEY,
    SERVICE,
    DeadLetterDriver,
    confirmation,
)
from tests.support.broker import Broker
from tests.support.dead_letters import (
    NOWHERE,
    Commands,
    one_line,
)
from tests.support.services import TOPOLOGIES


async def test_message_out_of_attempts_is_listed_and_shown(
    inventory: DeadLetterDriver, saga: Commands
) -> None:
    asked = confirmation(uuid4().hex)
    await inventory.client.publish(
        "order.events", f"{KEY}.{asked.order_id}", encode(asked), message_id=asked.event_id
    )
    await inventory.dead(1)
    listed = (await saga("list", "--service", "inventory")).stdout
    assert "inventory_service: 1 dead letter\n" in listed
    assert f"{asked.event_id}  {KEY}  order {asked.order_id}" in listed
    assert ", 2 retries: out of attempts: OutOfOrder: " in listed
    shown = (await saga("show", "--id", str(asked.event_id))).stdout
    assert "order_service: no dead letters" in shown
    assert f"came by:   order.events, key {KEY}.{asked.order_id}" in shown
    assert f"  {ATTEMPTS}: 2" in shown
    assert f'  "orderId": "{asked.order_id}"' in shown
    assert f"{asked.order_id}: cannot reach {NOWHERE}" in shown
    document = await saga.document("show", "--service", "inventory")
    assert document["total"] == {INVENTORY: 1}
    (letter,) = document["deadLetters"]
    assert json.loads(letter["payload"])["eventId"] == asked.event_id
    assert letter["headers"][ATTEMPTS] == letter["attempts"] == 2
    assert letter["headers"][REASON] == letter["reason"]


async def test_listing_leaves_every_letter_in_its_place(inventory: DeadLetterDriver, saga: Commands) -> None:
    ids = [await inventory.dead_letter(confirmation(uuid4().hex)) for _ in range(8)]
    for _ in range(60):  # more often than the delivery limit of any other queue, or the broker's default
        async with opened(saga.env["RABBITMQ_URL"], SERVICE) as queue:
            assert queue.total == 8
            assert [letter.id async for letter in queue.letters(DeadLetterFilter())] == ids
    for limit in range(1, 9):
        assert await saga.ids("--limit", str(limit)) == ids[:limit]
    assert await saga.ids("--id", ids[5]) == [ids[5]]
    assert await saga.ids() == ids


async def test_interrupted_command_requeues_what_it_took(
    inventory: DeadLetterDriver, saga: Commands, package_broker: Broker
) -> None:
    ids = [await inventory.dead_letter(confirmation(uuid4().hex)) for _ in range(4)]

    async def look_and_be_cut_off() -> None:
        async with opened(saga.env["RABBITMQ_URL"], SERVICE) as queue:
            assert [letter.id async for letter in queue.letters(DeadLetterFilter(), 3)] == ids[:3]
            await package_broker.cut_connections(CONNECTION_NAME)

    with pytest.raises(CommandFailed, match="connection to the broker was lost"):
        await look_and_be_cut_off()
    await inventory.dead(4)
    assert await saga.ids() == ids


async def test_message_that_the_broker_dead_lettered_is_read(
    broker: Broker, mongodb_url: str, tmp_path: Path
) -> None:
    saga = Commands(broker.url, mongodb_url, DATABASE, tmp_path)
    async with broker.connected() as client:
        await client.stand_in_for(TOPOLOGIES[ORDER])
        await (await client.stand_in_for(SERVICE)).bind()
        asked = confirmation("o-1")
        await client.publish("order.events", f"{KEY}.o-1", encode(asked))
        for _ in range(51):
            await (await client.get(INVENTORY)).nack(requeue=True)
        (letter,) = (await saga.document("show", "--service", "inventory"))["deadLetters"]
        assert letter["reason"] == "dead-lettered by the broker: delivery_limit"
        assert (letter["exchange"], letter["routingKey"]) == ("order.events", f"{KEY}.o-1")
        assert letter["deadLetteredAt"] is not None
        await saga("replay", "--service", "inventory")
        message = await client.get(INVENTORY)
        await message.ack()
        assert decode(message.body) == asked
        assert message.headers["x-saga-exchange"] == "order.events"
        assert "x-death" not in message.headers


async def test_no_dead_letters_are_reported_as_such(inventory: DeadLetterDriver, saga: Commands) -> None:
    for command in ("list", "show", "replay", "drop"):
        assert (
            await saga(command, "--service", "inventory")
        ).stdout == "inventory_service: no dead letters\n"
    await inventory.dead_letter(confirmation(uuid4().hex))
    for arguments in (["replay"], ["replay", "--dry-run"], ["drop", "--yes"]):
        result = await saga(*arguments, "--service", "inventory", "--id", "another")
        assert result.stdout.startswith("inventory_service: none of 1 dead letter")


async def test_missing_queue_is_reported_in_one_line(
    broker: Broker, mongodb_url: str, tmp_path: Path
) -> None:
    saga = Commands(broker.url, mongodb_url, DATABASE, tmp_path)
    for arguments in (["list"], ["show"], ["replay", "--service", "order"], ["drop", "--service", "order"]):
        line = one_line(await saga(*arguments, code=1))
        assert "no queue 'order_service.dead'" in line
        assert "saga up" in line
