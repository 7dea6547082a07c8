"""`saga dead-letters drop`: letters are dropped for good, after asking."""

import json
from uuid import uuid4

import pytest

from events.catalogue import (
    InventoryConfirmed,
)
from operations.dead_letters.queue import DeadLetterQueue
from tests.integration.dead_letters.driver import (
    DeadLetterDriver,
    confirmation,
    crash,
)
from tests.support.broker import Broker
from tests.support.dead_letters import (
    Commands,
)


async def test_drop_takes_matching_letters_and_keeps_the_order(
    inventory: DeadLetterDriver, saga: Commands
) -> None:
    reasons = ["not JSON: a", "out of attempts", "not JSON: b", "died", "out of attempts"]
    ids = [await inventory.dead_letter(confirmation(uuid4().hex), reason) for reason in reasons]
    result = await saga("drop", "--service", "inventory", "--reason", "NOT json", "--yes")
    assert "inventory_service: 2 of 5 dead letters dropped" in result.stdout
    assert [ids[number] in result.stdout for number in range(5)] == [True, False, True, False, False]
    assert await saga.ids() == [ids[1], ids[3], ids[4]]


async def test_drop_asks_first_and_does_nothing_without_a_yes(
    inventory: DeadLetterDriver, saga: Commands
) -> None:
    (message_id,) = [await inventory.dead_letter(confirmation(uuid4().hex))]
    refused = await saga("drop", "--service", "inventory", answer="n\n", code=1)
    assert "Drop inventory_service: 1 dead letter permanently?" in refused.stderr
    await saga("drop", "--service", "inventory", answer="", code=1)
    assert await saga.ids() == [message_id]
    await saga("drop", "--service", "inventory", answer="y\n")
    assert await saga.ids() == []


async def test_letter_is_printed_before_it_is_dropped(
    inventory: DeadLetterDriver, saga: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    message_id = await inventory.dead_letter(confirmation(uuid4().hex))
    with monkeypatch.context() as patched:
        patched.setattr(DeadLetterQueue, "drop", crash)
        result = await saga("drop", "--service", "inventory", "--yes", "--json", code=1)
    assert json.loads(result.stdout)["properties"]["message_id"] == message_id
    await inventory.dead(1)
    assert await saga.ids() == [message_id]


async def test_dropped_letter_can_be_published_manually(
    inventory: DeadLetterDriver, saga: Commands, package_broker: Broker
) -> None:
    tea = inventory.shelve(2)
    order_id = await inventory.hold(tea)
    asked = confirmation(order_id)
    await inventory.dead_letter(asked)
    result = await saga("drop", "--service", "inventory", "--yes", "--json")
    (line,) = result.stdout.splitlines()
    dropped = json.loads(line)
    assert dropped["payload_encoding"] == "string"
    assert package_broker.publish_manually(
        dropped["exchange"], dropped["routing_key"], dropped["payload"], dropped["properties"]
    )
    confirmed = await inventory.order.receive_a(InventoryConfirmed, order_id)
    assert confirmed.causation_id == asked.event_id
