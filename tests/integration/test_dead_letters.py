"""`saga dead-letters` on a real broker, a real database and real services, each alone."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pytest

from events.catalogue import (
    INVENTORY,
    ORDER,
    Event,
    InventoryConfirmationRequested,
    InventoryConfirmed,
    InventoryReleaseRequested,
    InventoryReservationRequested,
    InventoryReserved,
)
from events.codec import decode, encode
from events.identity import with_defaults
from events.values import Item
from operations.broker_session import CONNECTION_NAME
from operations.dead_letters.dead_letter import DeadLetter, DeadLetterFilter
from operations.dead_letters.queue import DeadLetterQueue, opened
from operations.errors import CommandFailed
from saga.clock import utc_now
from saga.messaging.message import ATTEMPTS, EVENT_ID, REASON, Delivery
from tests.support.broker import Broker, Client, Neighbour
from tests.support.dead_letters import (
    NOWHERE,
    Commands,
    dead_letter,
    dead_letter_message,
    fields_of,
    one_line,
    until_dead,
)
from tests.support.services import TOPOLOGIES, ServiceProcess, run_service, stand_in_for_others

SERVICE = TOPOLOGIES[INVENTORY]
DATABASE = f"inventory_{uuid4().hex[:12]}"
E = TypeVar("E", bound=Event)
KEY = "InventoryConfirmationRequested"


@pytest.fixture(scope="module")
def service(
    module_broker: Broker, mongodb_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    directory = tmp_path_factory.mktemp("inventory")
    with run_service(INVENTORY, module_broker.url, mongodb_url, directory, database=DATABASE) as service:
        yield service


@pytest.fixture
def saga(module_broker: Broker, mongodb_url: str, tmp_path: Path) -> Commands:
    return Commands(module_broker.url, mongodb_url, DATABASE, tmp_path)


class MerchantSettings:
    """The order service, played by the test, and inventory's dead letters."""

    def __init__(self, service: ServiceProcess, client: Client, order: Neighbour) -> None:
        self.http = service.http
        self.client = client
        self.order = order

    def shelve(self, units: int) -> str:
        """Put units of a new product into a warehouse; return its id."""
        product = f"p-{uuid4().hex[:12]}"
        self.http.put(f"/stock/berlin/{product}", json={"available": units}).raise_for_status()
        return product

    def level(self, product: str) -> tuple[int, int, int]:
        """Return what is available, reserved and allocated."""
        (row,) = self.http.get("/stock", params={"productId": product}).json()["stock"]
        return row["available"], row["reserved"], row["allocated"]

    async def hold(self, product: str) -> str:
        """Have a unit held for a new order; return its id."""
        asked = request(product)
        await self.client.tell(asked)
        await self.order.receive_a(InventoryReserved, asked.order_id)
        return asked.order_id

    async def dead_letter(self, event: Event, reason: str = "out of attempts: for a test") -> str:
        """Put an event away as the service does; return its message id."""
        return await dead_letter(self.client, SERVICE, event, reason)

    async def dead(self, count: int) -> None:
        """Wait until the service has so many dead letters."""
        await until_dead(self.client, SERVICE, count)


@pytest.fixture
async def shop(module_broker: Broker, service: ServiceProcess) -> AsyncIterator[MerchantSettings]:
    async with module_broker.connected() as client:
        neighbours = await stand_in_for_others(client, INVENTORY)
        service.wait_ready()
        location = {"latitude": 52.5, "longitude": 13.4}
        warehouses = {"warehouses": [{"warehouseId": "berlin", "location": location}]}
        service.http.put("/warehouses", json=warehouses).raise_for_status()
        yield MerchantSettings(service, client, neighbours[ORDER])
        for queue in (SERVICE.dead_letter_queue, ORDER):
            await (await client.channel.get_queue(queue, ensure=False)).purge()


def request(product: str, order_id: str | None = None) -> InventoryReservationRequested:
    return complete(
        InventoryReservationRequested(
            order_id=order_id or uuid4().hex,
            user_id="u-1",
            items=(Item(product_id=product, quantity=1),),
            total_amount="25.00",
        )
    )


def confirmation(order_id: str) -> InventoryConfirmationRequested:
    return complete(InventoryConfirmationRequested(order_id=order_id))


def complete(event: E) -> E:
    return with_defaults(event, utc_now())


# What is there


async def test_a_message_out_of_attempts_is_listed_and_shown(shop: MerchantSettings, saga: Commands) -> None:
    asked = confirmation(uuid4().hex)
    await shop.client.publish(
        "order.events", f"{KEY}.{asked.order_id}", encode(asked), message_id=asked.event_id
    )
    await shop.dead(1)
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


async def test_looking_leaves_every_letter_in_its_place_however_often(
    shop: MerchantSettings, saga: Commands
) -> None:
    ids = [await shop.dead_letter(confirmation(uuid4().hex)) for _ in range(8)]
    for _ in range(60):  # more often than the delivery limit of any other queue, or the broker's default
        async with opened(saga.env["RABBITMQ_URL"], SERVICE) as queue:
            assert queue.total == 8
            assert [letter.id async for letter in queue.letters(DeadLetterFilter())] == ids
    for limit in range(1, 9):
        assert await saga.ids("--limit", str(limit)) == ids[:limit]
    assert await saga.ids("--id", ids[5]) == [ids[5]]
    assert await saga.ids() == ids


async def test_a_command_that_is_cut_off_has_given_back_what_it_held(
    shop: MerchantSettings, saga: Commands, module_broker: Broker
) -> None:
    ids = [await shop.dead_letter(confirmation(uuid4().hex)) for _ in range(4)]

    async def look_and_be_cut_off() -> None:
        async with opened(saga.env["RABBITMQ_URL"], SERVICE) as queue:
            assert [letter.id async for letter in queue.letters(DeadLetterFilter(), 3)] == ids[:3]
            assert await module_broker.cut_connections(CONNECTION_NAME) == 1

    with pytest.raises(CommandFailed, match="connection to the broker was lost"):
        await look_and_be_cut_off()
    await shop.dead(4)
    assert await saga.ids() == ids


async def test_a_message_that_the_broker_dead_lettered_is_read(
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


# What a replay would do, and does


async def test_a_dry_run_says_what_a_replay_then_does(shop: MerchantSettings, saga: Commands) -> None:
    tea = shop.shelve(5)
    order_id, unknown = await shop.hold(tea), uuid4().hex
    garbage = Delivery(1, "order.events", KEY, b'{"type":"InventoryConfirmationRequested"}', "garbage")
    confirm = confirmation(order_id)
    release = complete(InventoryReleaseRequested(order_id=order_id, reason="declined"))
    await shop.dead_letter(confirm)
    await shop.dead_letter(confirm)
    await shop.dead_letter(release)
    await shop.dead_letter(confirmation(unknown))
    await dead_letter_message(shop.client, SERVICE, garbage, "orderId: Field required")
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
    await shop.dead(5)
    assert shop.level(tea) == (4, 1, 0)
    assert await shop.client.depth(ORDER) == 0

    before = counted(shop)
    result = await saga("replay", "--service", "inventory")
    assert "inventory_service: 5 dead letters replayed" in result.stdout
    first, again = [await shop.order.receive_a(InventoryConfirmed, order_id) for _ in range(2)]
    assert first == again
    await shop.dead(2)
    assert counted(shop, since=before) == {"handled": 1, "repeated": 1, "ignored": 1, "retry": 3}
    assert shop.level(tea) == (4, 0, 1)
    assert await shop.client.depth(ORDER) == 0
    listed = await saga.document("list", "--service", "inventory")
    assert set(fields_of(listed, "orderId", "attempts", "reason")) == {
        (None, 0, "orderId: Field required"),
        (unknown, 2, "out of attempts: OutOfOrder: confirmation of an unknown reservation"),
    }


def counted(shop: MerchantSettings, since: dict[str, int] | None = None) -> dict[str, int]:
    """Return how many messages had which outcome, in all or since an earlier count."""
    counts: dict[str, int] = {}
    for row in shop.http.get("/metrics").text.splitlines():
        if row.startswith("saga_events_total"):
            outcome = row.partition('outcome="')[2].partition('"')[0]
            counts[outcome] = counts.get(outcome, 0) + round(float(row.rpartition(" ")[2]))
    earlier = since or {}
    changed = {name: count - earlier.get(name, 0) for name, count in counts.items()}
    return {name: count for name, count in changed.items() if count}


async def test_a_message_that_came_too_early_is_handled_on_replay(
    shop: MerchantSettings, saga: Commands
) -> None:
    tea = shop.shelve(1)
    asked = request(tea)
    await shop.client.tell(confirmation(asked.order_id))
    await shop.dead(1)
    await shop.client.tell(asked)
    await shop.order.receive_a(InventoryReserved, asked.order_id)
    await saga("replay", "--service", "inventory", "--order", asked.order_id)
    await shop.order.receive_a(InventoryConfirmed, asked.order_id)
    assert shop.level(tea) == (0, 0, 1)
    assert await shop.client.depth(SERVICE.dead_letter_queue) == 0


async def test_an_event_published_without_an_id_keeps_its_first_id(
    shop: MerchantSettings, saga: Commands
) -> None:
    tea = shop.shelve(1)
    asked = request(tea)
    bare = json.dumps({"type": KEY, "orderId": asked.order_id}).encode()
    await shop.client.publish("order.events", KEY, bare)
    await shop.dead(1)
    (letter,) = (await saga.document("show", "--service", "inventory"))["deadLetters"]
    await shop.client.tell(asked)
    await shop.order.receive_a(InventoryReserved, asked.order_id)
    await saga("replay", "--service", "inventory")
    confirmed = await shop.order.receive_a(InventoryConfirmed, asked.order_id)
    assert confirmed.causation_id == letter["headers"][EVENT_ID]


async def crash(queue: DeadLetterQueue, letter: DeadLetter) -> None:
    raise CommandFailed("killed")


async def test_a_crash_during_a_replay_only_duplicates_a_message(
    shop: MerchantSettings, saga: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    tea = shop.shelve(3)
    order_id = await shop.hold(tea)
    await shop.dead_letter(confirmation(order_id))
    with monkeypatch.context() as patched:
        patched.setattr(DeadLetterQueue, "drop", crash)
        assert "killed; 0 had been replayed before" in one_line(
            await saga("replay", "--service", "inventory", code=1)
        )
    first = await shop.order.receive_a(InventoryConfirmed, order_id)
    await shop.dead(1)
    await saga("replay", "--service", "inventory")
    assert await shop.order.receive_a(InventoryConfirmed, order_id) == first
    assert shop.level(tea) == (2, 0, 1)
    await shop.dead(0)


async def test_what_no_queue_takes_stays_a_dead_letter(shop: MerchantSettings, saga: Commands) -> None:
    ids = [await shop.dead_letter(confirmation(uuid4().hex)) for _ in range(3)]
    queue = await shop.client.channel.get_queue(INVENTORY, ensure=False)
    await queue.unbind(SERVICE.return_exchange, "")
    try:
        result = await saga("replay", "--service", "inventory", code=1)
    finally:
        await queue.bind(SERVICE.return_exchange, "")
    assert "no queue takes a message" in one_line(result)
    await shop.dead(3)
    assert await saga.ids() == ids


async def test_a_replay_takes_only_what_was_asked_for(shop: MerchantSettings, saga: Commands) -> None:
    tea = shop.shelve(9)
    orders = [await shop.hold(tea) for _ in range(3)]
    ids = [await shop.dead_letter(confirmation(order_id)) for order_id in orders]
    await saga("replay", "--service", "inventory", "--order", orders[1])
    await shop.order.receive_a(InventoryConfirmed, orders[1])
    assert await saga.ids() == [ids[0], ids[2]]
    await saga("replay", "--service", "inventory", "--limit", "1")
    await shop.order.receive_a(InventoryConfirmed, orders[0])
    assert await saga.ids() == [ids[2]]


# Dropping


async def test_a_drop_removes_what_matches_and_keeps_the_order(
    shop: MerchantSettings, saga: Commands
) -> None:
    reasons = ["not JSON: a", "out of attempts", "not JSON: b", "died", "out of attempts"]
    ids = [await shop.dead_letter(confirmation(uuid4().hex), reason) for reason in reasons]
    result = await saga("drop", "--service", "inventory", "--reason", "NOT json", "--yes")
    assert "inventory_service: 2 of 5 dead letters dropped" in result.stdout
    assert [ids[number] in result.stdout for number in range(5)] == [True, False, True, False, False]
    assert await saga.ids() == [ids[1], ids[3], ids[4]]


async def test_a_drop_asks_first_and_does_nothing_without_a_yes(
    shop: MerchantSettings, saga: Commands
) -> None:
    (message_id,) = [await shop.dead_letter(confirmation(uuid4().hex))]
    refused = await saga("drop", "--service", "inventory", answer="n\n", code=1)
    assert "Drop inventory_service: 1 dead letter permanently?" in refused.stderr
    await saga("drop", "--service", "inventory", answer="", code=1)
    assert await saga.ids() == [message_id]
    await saga("drop", "--service", "inventory", answer="y\n")
    assert await saga.ids() == []


async def test_a_letter_is_printed_before_it_is_dropped(
    shop: MerchantSettings, saga: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    message_id = await shop.dead_letter(confirmation(uuid4().hex))
    with monkeypatch.context() as patched:
        patched.setattr(DeadLetterQueue, "drop", crash)
        result = await saga("drop", "--service", "inventory", "--yes", "--json", code=1)
    assert json.loads(result.stdout)["properties"]["message_id"] == message_id
    await shop.dead(1)
    assert await saga.ids() == [message_id]


async def test_a_dropped_message_can_be_published_over_the_api(
    shop: MerchantSettings, saga: Commands, module_broker: Broker
) -> None:
    tea = shop.shelve(2)
    order_id = await shop.hold(tea)
    asked = confirmation(order_id)
    await shop.dead_letter(asked)
    result = await saga("drop", "--service", "inventory", "--yes", "--json")
    (line,) = result.stdout.splitlines()
    dropped = json.loads(line)
    assert dropped["payload_encoding"] == "string"
    assert module_broker.publish_manually(
        dropped["exchange"], dropped["routing_key"], dropped["payload"], dropped["properties"]
    )
    confirmed = await shop.order.receive_a(InventoryConfirmed, order_id)
    assert confirmed.causation_id == asked.event_id


# What is not there


async def test_no_dead_letters_are_nothing_to_do(shop: MerchantSettings, saga: Commands) -> None:
    for command in ("list", "show", "replay", "drop"):
        assert (
            await saga(command, "--service", "inventory")
        ).stdout == "inventory_service: no dead letters\n"
    await shop.dead_letter(confirmation(uuid4().hex))
    for arguments in (["replay"], ["replay", "--dry-run"], ["drop", "--yes"]):
        result = await saga(*arguments, "--service", "inventory", "--id", "another")
        assert result.stdout.startswith("inventory_service: none of 1 dead letter")


async def test_a_missing_queue_is_reported_in_one_line(
    broker: Broker, mongodb_url: str, tmp_path: Path
) -> None:
    saga = Commands(broker.url, mongodb_url, DATABASE, tmp_path)
    for arguments in (["list"], ["show"], ["replay", "--service", "order"], ["drop", "--service", "order"]):
        line = one_line(await saga(*arguments, code=1))
        assert "no queue 'order_service.dead'" in line
        assert "saga up" in line


async def test_a_dry_run_without_database_is_reported_in_one_line(
    shop: MerchantSettings, saga: Commands
) -> None:
    await shop.dead_letter(confirmation(uuid4().hex))
    saga.env["MONGODB_URL"] = "mongodb://someone:s3cret@127.0.0.1:1/?serverSelectionTimeoutMS=100"
    line = one_line(await saga("replay", "--service", "inventory", "--dry-run", code=1))
    assert "the database is unavailable" in line
    assert "s3cret" not in line
    await shop.dead(1)
