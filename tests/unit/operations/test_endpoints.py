"""Where the services and the broker are found."""

from dataclasses import replace
from pathlib import Path

import pytest

from events.catalogue import SERVICES
from operations import endpoints
from operations.endpoints import Endpoints

RUNNING = Endpoints(
    order="http://127.0.0.1:9001",
    inventory="http://127.0.0.1:9002",
    payment="http://127.0.0.1:9003",
    rabbitmq="amqp://guest:guest@127.0.0.1:9672/",
    management="http://127.0.0.1:9673",
    order_mongodb="mongodb://127.0.0.1:9017/",
    inventory_mongodb="mongodb://127.0.0.1:9018/",
    payment_mongodb="mongodb://127.0.0.1:9019/",
)


def test_defaults_come_last() -> None:
    assert endpoints.find({}) == endpoints.DEFAULTS


def test_a_running_stack_comes_before_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def running(state: Path) -> Endpoints:
        asked.append(state)
        return RUNNING

    monkeypatch.setattr(endpoints, "running_endpoints", running)
    assert endpoints.find({"SAGA_STATE": "/elsewhere"}) == RUNNING
    assert endpoints.find({}) == RUNNING
    assert asked == [Path("/elsewhere"), Path(".saga")]


def test_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "running_endpoints", lambda _: RUNNING)
    found = endpoints.find({"ORDER_URL": "http://order:8001/", "RABBITMQ_URL": "amqp://u:p@broker:5672/"})
    assert found == replace(
        RUNNING,
        order="http://order:8001",
        rabbitmq="amqp://u:p@broker:5672/",
        management="http://broker:15672",
    )


def test_one_database_url_names_the_server_of_all() -> None:
    found = endpoints.find({"MONGODB_URL": "mongodb://one/?replicaSet=rs0"})
    assert found.mongodb_by_service == dict.fromkeys(SERVICES, "mongodb://one/?replicaSet=rs0")


def test_a_services_own_database_url_comes_first() -> None:
    found = endpoints.find({"MONGODB_URL": "mongodb://one", "PAYMENT_MONGODB_URL": "mongodb://two"})
    assert [found.mongodb_of(name) for name in SERVICES] == [
        "mongodb://one",
        "mongodb://one",
        "mongodb://two",
    ]


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        (["MONGODB_URL"], True),
        (["ORDER_MONGODB_URL", "INVENTORY_MONGODB_URL", "PAYMENT_MONGODB_URL"], True),
        (["ORDER_MONGODB_URL", "INVENTORY_MONGODB_URL"], False),
        ([], False),
    ],
)
def test_databases_are_named_when_all_three_are(variables: list[str], named: bool) -> None:
    environment = dict.fromkeys(variables, "mongodb://one")
    assert endpoints.databases_named_by_environment(environment) == named


def test_empty_variable_is_ignored() -> None:
    assert endpoints.find({"ORDER_URL": ""}) == endpoints.DEFAULTS
    assert not endpoints.named_by_environment({"ORDER_URL": ""})


@pytest.mark.parametrize(
    ("url", "login"),
    [
        ("amqp://a:b%2Fc@h:5672/", ("a", "b/c", "/")),
        ("amqp://h", ("guest", "guest", "/")),
        ("amqp://a:b@h/%2Fshop", ("a", "b", "/shop")),
    ],
)
def test_login_is_read_from_the_url(url: str, login: tuple[str, str, str]) -> None:
    found = endpoints.broker_login(url)
    assert (found.user, found.password, found.vhost) == login
