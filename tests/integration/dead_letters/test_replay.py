"""`saga dead-letters replay`: letters are handled again, as the dry run predicts."""

import json
from uuid import uuid4

import pytest

from events.catalogue import (
    INVENTORY,
    ORDER,
    InventoryConfirmed,
    InventoryReleaseRequested,
    InventoryReserved,
)
from operations.dead_letters.queue import DeadLetterQueue
from saga.messaging.message import EVENT_ID, Delivery
from tests.integration.dead_letters.driver import (
    KEY,
    SERVICE,
    DeadLetterDriver,
    complete,
    confirmation,
    counted,
    crash,
    request,
)
from tests.support.dead_letters import (
    Commands,
    dead_letter_message,
    fields_of,
    one_line,
)


async def test_dry_run_predicts_the_replay(inventory: DeadLetterDriver, saga: Commands) -> None:
    tea = inventory.shelve(5)
    order_id, unknown = await inventory.hold(tea), uuid4().hex
    garbage = Delivery(1, "order.events", KEY, b'{"type":"InventoryConfirmationRequested"}', "garbage")
    confirm = confirmation(order_id)
    release = complete(InventoryReleaseRequested(order_id=order_id, reason="declined"))
    await inventory.dead_letter(confirm)
    await inventory.dead_letter(confirm)
    await inventory.dead_letter(release)
    await inventory.dead_letter(confirmation(unknown))
    await dead_letter_message(inventory.client, SERVICE, garbage, "orderId: Field required")
    assert await saga.previews("inventory") == [
        ("runs", "held", "allocated", ["InventoryConfirmed"]),
        ("repeats", "allocated", "allocated", ["InventoryConfirmed"]),
        ("ignored", "allocated", "allocated", []),
        ("waits", None, None, []),
        ("dead_lettered", None, None, []),
    ]
    text = (await saga("replay", "--service", "inventory", "--dry-run")).stdout
    assert "would run: held -> allocated, publishes InventoryConfirmed\n" in text
    assert "handled already (allocated): publishes again InventoryConfirmed\n" in text
    assert "would be ignored: nothing to do, it is allocated\n" in text
    assert "would wait in the delay queues for the order to become known: OutOfOrder: " in text
    assert "would be dead-lettered again: orderId: Field required\n" in text
    await inventory.dead(5)
    assert inventory.level(tea) == (4, 1, 0)
    assert await inventory.client.depth(ORDER) == 0

    before = counted(inventory)
    result = await saga("replay", "--service", "inventory")
    assert "inventory_service: 5 dead letters replayed" in result.stdout
    first, again = [await inventory.order.receive_a(InventoryConfirmed, order_id) for _ in range(2)]
    assert first == again
    await inventory.dead(2)
    assert counted(inventory, since=before) == {"handled": 1, "repeated": 1, "ignored": 1, "retry": 3}
    assert inventory.level(tea) == (4, 0, 1)
    assert await inventory.client.depth(ORDER) == 0
    listed = await saga.document("list", "--service", "inventory")
    assert set(fields_of(listed, "orderId", "attempts", "reason")) == {
        (None, 0, "orderId: Field required"),
        (unknown, 2, "out of attempts: OutOfOrder: confirmation of an unknown reservation"),
    }


async def test_message_that_came_too_early_is_handled_on_replay(
    inventory: DeadLetterDriver, saga: Commands
) -> None:
    tea = inventory.shelve(1)
    asked = request(tea)
    await inventory.client.publish_event(confirmation(asked.order_id))
    await inventory.dead(1)
    await inventory.client.publish_event(asked)
    await inventory.order.receive_a(InventoryReserved, asked.order_id)
    await saga("replay", "--service", "inventory", "--order", asked.order_id)
    await inventory.order.receive_a(InventoryConfirmed, asked.order_id)
    assert inventory.level(tea) == (0, 0, 1)
    assert await inventory.client.depth(SERVICE.dead_letter_queue) == 0


async def test_event_without_an_id_keeps_its_derived_id_on_replay(
    inventory: DeadLetterDriver, saga: Commands
) -> None:
    tea = inventory.shelve(1)
    asked = request(tea)
    bare = json.dumps({"type": KEY, "orderId": asked.order_id}).encode()
    await inventory.client.publish("order.events", KEY, bare)
    await inventory.dead(1)
    (letter,) = (await saga.document("show", "--service", "inventory"))["deadLetters"]
    await inventory.client.publish_event(asked)
    await inventory.order.receive_a(InventoryReserved, asked.order_id)
    await saga("replay", "--service", "inventory")
    confirmed = await inventory.order.receive_a(InventoryConfirmed, asked.order_id)
    assert confirmed.causation_id == letter["headers"][EVENT_ID]


async def test_crash_before_removal_only_doubles_the_message(
    inventory: DeadLetterDriver, saga: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    tea = inventory.shelve(3)
    order_id = await inventory.hold(tea)
    await inventory.dead_letter(confirmation(order_id))
    with monkeypatch.context() as patched:
        patched.setattr(DeadLetterQueue, "drop", crash)
        assert "killed; 0 had been replayed before" in one_line(
            await saga("replay", "--service", "inventory", code=1)
        )
    first = await inventory.order.receive_a(InventoryConfirmed, order_id)
    await inventory.dead(1)
    await saga("replay", "--service", "inventory")
    assert await inventory.order.receive_a(InventoryConfirmed, order_id) == first
    assert inventory.level(tea) == (2, 0, 1)
    await inventory.dead(0)


async def test_unroutable_replay_stays_a_dead_letter(inventory: DeadLetterDriver, saga: Commands) -> None:
    ids = [await inventory.dead_letter(confirmation(uuid4().hex)) for _ in range(3)]
    queue = await inventory.client.channel.get_queue(INVENTORY, ensure=False)
    await queue.unbind(SERVICE.return_exchange, "")
    try:
        result = await saga("replay", "--service", "inventory", code=1)
    finally:
        await queue.bind(SERVICE.return_exchange, "")
    assert "no queue takes a message" in one_line(result)
    await inventory.dead(3)
    assert await saga.ids() == ids


async def test_replay_takes_only_matching_letters(inventory: DeadLetterDriver, saga: Commands) -> None:
    tea = inventory.shelve(9)
    orders = [await inventory.hold(tea) for _ in range(3)]
    ids = [await inventory.dead_letter(confirmation(order_id)) for order_id in orders]
    await saga("replay", "--service", "inventory", "--order", orders[1])
    await inventory.order.receive_a(InventoryConfirmed, orders[1])
    assert await saga.ids() == [ids[0], ids[2]]
    await saga("replay", "--service", "inventory", "--limit", "1")
    await inventory.order.receive_a(InventoryConfirmed, orders[0])
    assert await saga.ids() == [ids[2]]


async def test_dry_run_without_database_is_reported_in_one_line(
    inventory: DeadLetterDriver, saga: Commands
) -> None:
    await inventory.dead_letter(confirmation(uuid4().hex))
    saga.env["MONGODB_URL"] = "mongodb://someone:s3cret@127.0.0.1:1/?serverSelectionTimeoutMS=100"
    line = one_line(await saga("replay", "--service", "inventory", "--dry-run", code=1))
    assert "the database is unavailable" in line
    assert "s3cret" not in line
    await inventory.dead(1)
