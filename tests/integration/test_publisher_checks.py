"""Readers know the publisher of each event, and dead-letter an event from a user who may not publish it."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiormq.exceptions import ChannelAccessRefused

from events.catalogue import INVENTORY, ORDER, PAYMENT
from saga.messaging.message import ORIGIN_USER, REASON
from saga.messaging.users import ADMINISTRATOR, OPERATOR, PUBLISHER
from tests.support.broker import Broker, Client, until
from tests.support.dead_letters import Commands
from tests.support.services import TOPOLOGIES, ServiceProcess, run_service
from tests.support.users import at, load_users

REQUEST, RELEASE = "InventoryReservationRequested", "InventoryReleaseRequested"
DEAD = TOPOLOGIES[INVENTORY].dead_letter_queue
DATABASE = f"senders_{uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def defined(module_broker: Broker) -> Broker:
    """A virtual host that has loaded the definitions."""
    return load_users(module_broker)


@pytest.fixture(scope="module")
def inventory(
    defined: Broker, mongodb_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    """The inventory service, logged in as itself; its neighbours' queues exist, without readers."""
    directory = tmp_path_factory.mktemp("inventory")
    with run_service(
        INVENTORY, at(defined, INVENTORY).url, mongodb_url, directory, database=DATABASE
    ) as service:
        service.wait_ready()
        service.http.put("/warehouses", json={"warehouses": [WAREHOUSE]}).raise_for_status()
        service.http.put("/stock/w/tea", json={"available": 1000}).raise_for_status()
        yield service


WAREHOUSE = {"warehouseId": "w", "location": {"latitude": 1.0, "longitude": 1.0}}


@pytest.fixture
async def client(defined: Broker) -> AsyncIterator[Client]:
    """A client that may do everything."""
    async with defined.connected() as client:
        yield client


async def publish(
    broker: Broker, kind: str, order_id: str, user: str | None, headers: dict[str, Any] | None = None
) -> None:
    """Publish an event of the order service, as one user who says so, or as one who may do everything."""
    fields: dict[str, Any] = {"type": kind, "orderId": order_id}
    if kind == REQUEST:
        fields |= {"userId": "u", "items": [{"productId": "tea", "quantity": 1}], "totalAmount": "1.00"}
    if kind == RELEASE:
        fields |= {"reason": "cancelled"}
    async with at(broker, user or ADMINISTRATOR).connected() as client:
        body = json.dumps(fields).encode()
        await client.publish("order.events", kind, body, user_id=user, headers=headers)


async def held(inventory: ServiceProcess, order_id: str) -> None:
    await until(lambda: status(inventory, order_id) == "held", "the stock is held")


def status(inventory: ServiceProcess, order_id: str) -> str:
    return str(inventory.http.get(f"/reservations/{order_id}").json().get("status"))


async def dead_lettered(client: Client) -> tuple[str, object]:
    """Return the reason of the next dead letter, and who is said to have published it."""
    letter = await client.get(DEAD)
    await letter.ack()
    return str(letter.headers[REASON]), letter.headers.get(ORIGIN_USER)


@pytest.mark.parametrize("user", [ORDER, OPERATOR, PUBLISHER, ADMINISTRATOR, None])
async def test_any_user_that_the_broker_permits_starts_a_saga(
    defined: Broker, inventory: ServiceProcess, user: str | None
) -> None:
    await publish(defined, REQUEST, order_id := uuid4().hex, user)
    await held(inventory, order_id)


@pytest.mark.parametrize("user", [ORDER, OPERATOR])
async def test_a_request_may_come_from_its_service_or_the_operator(
    defined: Broker, inventory: ServiceProcess, user: str
) -> None:
    await publish(defined, REQUEST, order_id := uuid4().hex, PUBLISHER)
    await held(inventory, order_id)
    await publish(defined, RELEASE, order_id, user)
    await until(lambda: status(inventory, order_id) == "released", "the stock is given back")


@pytest.mark.parametrize(
    ("user", "who"),
    [(ADMINISTRATOR, "by administrator"), (None, "by an unnamed user")],
)
async def test_a_services_event_from_another_user_is_dead_lettered(
    defined: Broker, inventory: ServiceProcess, client: Client, user: str | None, who: str
) -> None:
    await publish(defined, REQUEST, order_id := uuid4().hex, PUBLISHER)
    await held(inventory, order_id)
    await publish(defined, RELEASE, order_id, user)
    reason, named = await dead_lettered(client)
    assert reason == f"user_id: {RELEASE} was published {who}, not by order_service"
    assert named == user
    assert status(inventory, order_id) == "held"


@pytest.mark.parametrize("user", [PAYMENT, INVENTORY])
async def test_a_service_starts_no_saga_in_place_of_another(
    defined: Broker, inventory: ServiceProcess, client: Client, user: str
) -> None:
    # Even if the broker let it through.
    defined.grant(user, "^order\\.events$")
    try:
        await publish(defined, REQUEST, order_id := uuid4().hex, user)
    finally:
        load_users(defined)
    reason, _ = await dead_lettered(client)
    assert reason == f"user_id: {REQUEST} was published by {user}, not by order_service"
    assert inventory.http.get(f"/reservations/{order_id}").status_code == 404


async def test_a_header_does_not_change_the_publisher(
    defined: Broker, inventory: ServiceProcess, client: Client
) -> None:
    await publish(defined, RELEASE, uuid4().hex, ADMINISTRATOR, {ORIGIN_USER: ORDER})
    reason, named = await dead_lettered(client)
    assert "was published by administrator" in reason
    assert named == ADMINISTRATOR
    await publish(defined, RELEASE, uuid4().hex, None, {ORIGIN_USER: ORDER})
    reason, named = await dead_lettered(client)
    assert "by an unnamed user" in reason
    assert named is None


async def test_the_publisher_is_known_through_every_retry(
    defined: Broker, inventory: ServiceProcess, client: Client
) -> None:
    await publish(defined, "InventoryConfirmationRequested", uuid4().hex, ORDER)
    reason, named = await dead_lettered(client)
    assert reason.startswith("out of attempts")
    assert named == ORDER


async def test_a_replay_makes_no_forged_message_valid(
    defined: Broker, inventory: ServiceProcess, client: Client, mongodb_url: str, tmp_path: Path
) -> None:
    saga = Commands(at(defined, OPERATOR).url, mongodb_url, DATABASE, tmp_path)
    await publish(defined, RELEASE, uuid4().hex, ADMINISTRATOR)
    await until(letters_are_there(client), "the message is dead-lettered")
    assert [preview for preview, *_ in await saga.previews("inventory")] == ["dead_lettered"]
    await saga("replay", "--service", "inventory")
    reason, named = await dead_lettered(client)
    assert "was published by administrator" in reason
    assert named == ADMINISTRATOR


def letters_are_there(client: Client) -> Any:
    async def there() -> bool:
        return await client.depth(DEAD) > 0

    return there


async def test_a_second_routing_key_smuggles_no_other_event(
    defined: Broker, inventory: ServiceProcess, client: Client
) -> None:
    # RabbitMQ 3.10 checks the rights on the first routing key alone.
    body = json.dumps({"type": RELEASE, "orderId": uuid4().hex, "reason": "cancelled"}).encode()
    async with at(defined, PUBLISHER).connected() as publisher:
        try:
            await publisher.publish(
                "order.events", REQUEST, body, user_id=PUBLISHER, headers={"CC": [f"{RELEASE}.o-1"]}
            )
        except ChannelAccessRefused:
            return
    reason, _ = await dead_lettered(client)
    assert reason == f"type: {RELEASE} came with the routing key {REQUEST}"
