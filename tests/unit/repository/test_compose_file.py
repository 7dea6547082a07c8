"""What compose.yaml configures: tokens, and which user each container logs in as."""

import re
from pathlib import Path

import pytest

from events.catalogue import short_name
from saga.http.auth import SCOPES, parse

COMPOSE = (Path(__file__).parents[3] / "compose.yaml").read_text()


def part(name: str) -> str:
    """Return what the file says of one container."""
    (body,) = re.findall(rf"^  {name}:\n((?:    .*\n|\n)+)", COMPOSE, re.MULTILINE)
    return str(body)


def test_every_service_needs_the_token_that_the_command_sends() -> None:
    (tokens,) = re.findall(r"SAGA_TOKENS: (.*)", COMPOSE)
    (shown,) = re.findall(r"SAGA_TOKEN: (.*)", COMPOSE)
    (default,) = re.findall(r"\$\{SAGA_TOKEN:-(.*)\}", shown)
    assert shown in tokens, "another one takes the place of the default at both ends"
    asked = parse(tokens.replace(shown, default).replace("${SAGA_TOKENS:-}", ""))
    caller = asked.caller(default)
    assert caller is not None
    assert caller.scopes == set(SCOPES)
    for service in ("order", "inventory", "payment"):
        assert "<<: *settings" in part(service)


@pytest.mark.parametrize(
    ("name", "at_the_broker", "at_the_database"),
    [
        ("order", ["order_service"], ["order_service"]),
        ("inventory", ["inventory_service"], ["inventory_service"]),
        ("payment", ["payment_service"], ["payment_service"]),
        ("saga", ["operator"], ["auditor"]),
        ("database-users", [], ["saga"]),
    ],
)
def test_each_container_has_its_own_logins_only(
    name: str, at_the_broker: list[str], at_the_database: list[str]
) -> None:
    assert re.findall("amqp://([^:]*):", part(name)) == at_the_broker
    assert re.findall("mongodb://([^:]*):", part(name)) == at_the_database
    if name != "database-users":
        used = {f"{short_name(user).upper()}_RABBITMQ_PASSWORD" for user in at_the_broker}
        used |= {f"{short_name(user).upper()}_MONGODB_PASSWORD" for user in at_the_database}
        assert set(re.findall(r"\w*_PASSWORD", part(name))) == used
