"""The rights of the database's users, on a server that enforces them: SecantusDB, in place of MongoDB."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from typer.testing import CliRunner

from cli import main
from events.catalogue import SERVICES
from local_stack.mongodb_node import DatabaseNode
from operations.access.database_users import AUDITOR
from operations.access.passwords import MONGODB, variable
from operations.registry import SPECS

UNAUTHORIZED, NOT_AUTHENTICATED = 13, 18
DATABASES = {service: f"{service}_test" for service in SERVICES}
PASSWORDS = {user: f"{user}-s3cret" for user in (*SERVICES, AUDITOR)}
VARIABLES = {variable(user, MONGODB): password for user, password in PASSWORDS.items()}

Client = MongoClient[dict[str, Any]]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseNode]:
    """A server with the users of the services."""
    node = DatabaseNode(tmp_path_factory.mktemp("users"), passwords=PASSWORDS, databases=DATABASES)
    node.start()
    try:
        node.wait_ready()
        with Client(node.url) as root:
            for name in DATABASES.values():
                root[name]["orders"].insert_one({"_id": "o-1"})
        yield node
    finally:
        node.kill()


def refused(client: Client, database: str, *, reads: bool) -> None:
    """Check that a client may not change a database nor, unless `reads`, read anything in it."""
    orders = client[database]["orders"]
    acts: dict[str, Callable[[], object]] = {
        "insert": lambda: orders.insert_one({"_id": "o-2"}),
        "update": lambda: orders.update_one({"_id": "o-1"}, {"$set": {"status": "confirmed"}}),
        "delete": lambda: orders.delete_one({"_id": "o-1"}),
        "drop": orders.drop,
        "index": lambda: orders.create_index("status"),
        "drop database": lambda: client.drop_database(database),
    }
    if not reads:
        acts["find"] = lambda: orders.find_one({})
        acts["aggregate"] = lambda: list(orders.aggregate([{"$count": "orders"}]))
        acts["list"] = client[database].list_collection_names
    for name, act in acts.items():
        with pytest.raises(OperationFailure) as failure:
            act()
        assert failure.value.code == UNAUTHORIZED, name


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_uses_only_its_own_database(node: DatabaseNode, service: str) -> None:
    with Client(node.url_of(service)) as client:
        orders = client[DATABASES[service]]["orders"]
        orders.update_one({"_id": "o-1"}, {"$set": {"seen": True}})
        assert orders.find_one({"_id": "o-1"}) == {"_id": "o-1", "seen": True}
        orders.create_index("seen")
        for other in SERVICES:
            if other != service:
                refused(client, DATABASES[other], reads=False)


def test_the_auditor_reads_all_databases_and_writes_none(node: DatabaseNode) -> None:
    with Client(node.url_of(AUDITOR)) as client:
        for name in DATABASES.values():
            assert client[name]["orders"].count_documents({}) == 1
            refused(client, name, reads=True)


@pytest.mark.parametrize("user", [*SERVICES, AUDITOR])
def test_no_user_may_create_or_change_users(node: DatabaseNode, user: str) -> None:
    with Client(node.url_of(user)) as client:
        for command in ("createUser", "updateUser"):
            with pytest.raises(OperationFailure) as failure:
                client.admin.command(command, user, pwd="mine", roles=[{"role": "root", "db": "admin"}])
            assert failure.value.code == UNAUTHORIZED


def test_a_wrong_password_is_rejected(node: DatabaseNode) -> None:
    at = node.url.rpartition("@")[2]
    with Client(f"mongodb://{at}") as stranger, pytest.raises(OperationFailure) as failure:
        stranger[DATABASES[SERVICES[0]]]["orders"].find_one({})
    assert failure.value.code == UNAUTHORIZED
    guess = node.url_of(AUDITOR).replace(PASSWORDS[AUDITOR], "guess")
    with Client(guess) as guesser, pytest.raises(OperationFailure) as failure:
        guesser[DATABASES[SERVICES[0]]]["orders"].find_one({})
    assert failure.value.code == NOT_AUTHENTICATED


def test_a_new_password_replaces_the_old_one_at_the_next_start(tmp_path: Path) -> None:
    service = SERVICES[0]
    for password, other in (("first", "second"), ("second", "first")):
        passwords = {**PASSWORDS, service: password}
        node = DatabaseNode(tmp_path, passwords=passwords, databases=DATABASES)
        node.start()
        try:
            node.wait_ready()
            with Client(node.url_of(service)) as client:
                client[DATABASES[service]]["orders"].insert_one({"_id": password})
            with (
                Client(node.url_of(service).replace(password, other)) as stale,
                pytest.raises(OperationFailure),
            ):
                stale[DATABASES[service]]["orders"].find_one({})
        finally:
            node.stop()


class TestCommand:
    def test_it_creates_the_users_and_can_be_repeated(self, node: DatabaseNode) -> None:
        databases = {f"{SPECS[service].env_prefix}DATABASE": name for service, name in DATABASES.items()}
        for _ in range(2):
            result = CliRunner().invoke(
                main.app, ["database", "users"], env={"MONGODB_URL": node.url, **VARIABLES, **databases}
            )
            assert result.exit_code == 0, result.output
            assert "s3cret" not in result.output
            with Client(node.url_of(SERVICES[0])) as client:
                assert client[DATABASES[SERVICES[0]]]["orders"].count_documents({}) == 1

    def test_missing_rights_are_explained_in_one_line(self, node: DatabaseNode) -> None:
        url = node.url_of(SERVICES[0])
        result = CliRunner().invoke(main.app, ["database", "users"], env={"MONGODB_URL": url, **VARIABLES})
        assert result.exit_code == 1
        assert result.stderr.startswith("saga: cannot create users at ")
        assert len(result.stderr.splitlines()) == 1
        assert "s3cret" not in result.output

    def test_a_missing_password_is_named(self, node: DatabaseNode) -> None:
        result = CliRunner().invoke(
            main.app,
            ["database", "users"],
            env={"MONGODB_URL": node.url, **VARIABLES, "AUDITOR_MONGODB_PASSWORD": ""},
        )
        assert result.exit_code == 1
        assert result.stderr == "saga: a password is missing: set AUDITOR_MONGODB_PASSWORD\n"
