"""What the broker is given to load: passwords that cannot be read, and rights that follow from the tables."""

import base64
import hashlib
import json
import re
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import main
from events.catalogue import EVENT_TYPES, SERVICES
from operations.access.broker_definitions import definitions, hashed, users
from operations.access.passwords import RABBITMQ, variable
from operations.registry import TOPOLOGIES
from saga.messaging.topology import exchange_of
from saga.messaging.users import ADMINISTRATOR, OPERATOR, PUBLISHER, may_publish, user_of

PASSWORDS = {user: f"{user}-s3cret" for user in users(TOPOLOGIES.values())}
VARIABLES = {variable(user, RABBITMQ): password for user, password in PASSWORDS.items()}
DEFINED = definitions(TOPOLOGIES.values(), PASSWORDS)


@pytest.fixture(autouse=True)
def no_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set where the tests run does not count."""
    for user in (*PASSWORDS, ADMINISTRATOR):
        monkeypatch.delenv(variable(user, RABBITMQ), raising=False)


def printed(**environment: str) -> Any:
    result = CliRunner().invoke(main.app, ["broker", "definitions"], env=environment)
    assert result.exit_code == 0, result.output
    assert "s3cret" not in result.output
    return json.loads(result.stdout)


def topic_rights(user: str, exchange: str, act: str) -> str:
    (found,) = [
        rights[act]
        for rights in DEFINED["topic_permissions"]
        if (rights["user"], rights["exchange"]) == (user, exchange)
    ]
    return str(found)


def test_password_hash_is_as_rabbitmq_documents_it() -> None:
    salt, password = bytes.fromhex("908DC60A"), "test12"
    assert hashed(password, salt) == "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
    kept = base64.b64decode(hashed("s3cret"))
    assert kept[4:] == hashlib.sha256(kept[:4] + b"s3cret").digest()
    assert hashed("s3cret") != hashed("s3cret")


def test_command_prints_every_user_and_no_password() -> None:
    defined = printed(**VARIABLES)
    assert [user["name"] for user in defined["users"]] == [*SERVICES, OPERATOR, PUBLISHER]
    assert {user["hashing_algorithm"] for user in defined["users"]} == {"rabbit_password_hashing_sha256"}
    assert "administrator" not in {tag for user in defined["users"] for tag in user["tags"]}


def test_administrator_exists_only_with_a_password() -> None:
    defined = printed(**VARIABLES, ADMINISTRATOR_RABBITMQ_PASSWORD="s3cret-too")
    (administrator,) = [user for user in defined["users"] if user["name"] == ADMINISTRATOR]
    assert administrator["tags"] == ["administrator"]


@pytest.mark.parametrize("missing", VARIABLES)
def test_missing_password_is_named(missing: str) -> None:
    there = {name: password for name, password in VARIABLES.items() if name != missing}
    result = CliRunner().invoke(main.app, ["broker", "definitions"], env={**there, missing: ""})
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"saga: a password is missing: set {missing}\n"


def test_all_missing_passwords_are_named_at_once() -> None:
    result = CliRunner().invoke(main.app, ["broker", "definitions"])
    assert result.stderr == f"saga: a password is missing: set {', '.join(VARIABLES)}\n"


def test_retry_delays_come_from_the_settings() -> None:
    defined = printed(**VARIABLES, ORDER_RETRY_DELAYS="0.5,7")
    pauses = [queue["name"] for queue in defined["queues"] if "order_service.retry" in queue["name"]]
    assert pauses == ["order_service.retry.500ms", "order_service.retry.7000ms"]


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_only_its_own_service_may_publish_an_event(kind: str) -> None:
    owner = EVENT_TYPES[kind].published_by
    may = {
        user
        for user in (*SERVICES, PUBLISHER)
        if re.match(topic_rights(user, exchange_of(owner), "write"), f"{kind}.o-1")
    }
    assert may == {owner} | ({PUBLISHER} if kind == "InventoryReservationRequested" else set())


@pytest.mark.parametrize("service", SERVICES)
def test_service_may_bind_only_to_what_it_reacts_to(service: str) -> None:
    (topology,) = [one for one in TOPOLOGIES.values() if one.service == service]
    heard = {
        kind
        for kind, event in EVENT_TYPES.items()
        if re.match(topic_rights(service, exchange_of(event.published_by), "read"), f"{kind}.#")
    }
    assert heard == topology.reacts_to


def test_no_user_may_publish_to_the_default_exchange() -> None:
    for rights in DEFINED["permissions"]:
        assert not re.match(rights["write"], "amq.default"), rights["user"]


@pytest.mark.parametrize(
    ("user", "kind", "may"),
    [
        ("order_service", "PaymentRequested", True),
        ("payment_service", "PaymentRequested", False),
        (OPERATOR, "PaymentRequested", True),
        (PUBLISHER, "PaymentRequested", False),
        (None, "PaymentRequested", False),
        ("shop", "PaymentRequested", False),
        ("order_service", "InventoryReservationRequested", True),
        ("inventory_service", "InventoryReservationRequested", False),
        (PUBLISHER, "InventoryReservationRequested", True),
        (None, "InventoryReservationRequested", True),
        ("shop", "InventoryReservationRequested", True),
    ],
)
def test_whose_event_is_believed(user: str | None, kind: str, may: bool) -> None:
    assert may_publish(user, kind) is may


@pytest.mark.parametrize(
    ("url", "user"),
    [
        ("amqp://h", "guest"),
        ("amqps://order_service:p%2F@h:1/v", "order_service"),
        ("amqp://a%40b:p@h", "a@b"),
    ],
)
def test_the_user_of_an_url(url: str, user: str) -> None:
    assert user_of(url) == user
