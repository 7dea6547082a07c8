"""Encrypted connections to broker and database, with certificates of a CA of the test's own."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from typer.testing import CliRunner

from cli import main
from events.catalogue import ORDER
from local_stack.process import Child, free_port, wait_until
from local_stack.rabbitmq_node import BrokerNode
from saga.messaging.users import OPERATOR
from tests.support.services import run_service
from tests.support.users import PASSWORDS

BROKER_CONFIG = """\
listeners.ssl.local = 127.0.0.1:{port}
ssl_options.cacertfile = {directory}/authority.pem
ssl_options.certfile = {directory}/certificate.pem
ssl_options.keyfile = {directory}/key.pem
"""


@dataclass(frozen=True)
class Encrypted:
    """A broker and a database with a certificate for `localhost`; the right CA bundle, and a wrong one."""

    broker: str
    database: str
    authority: str
    wrong_authority: str


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    directory = tmp_path_factory.mktemp("tls")
    authority, wrong = trustme.CA(), trustme.CA()
    server = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(directory / "authority.pem"))
    wrong.cert_pem.write_to_path(str(directory / "wrong.pem"))
    server.private_key_pem.write_to_path(str(directory / "key.pem"))
    for number, blob in enumerate(server.cert_chain_pems):
        blob.write_to_path(str(directory / "certificate.pem"), append=number > 0)
    port = free_port()
    config = BROKER_CONFIG.format(port=port, directory=directory)
    broker = BrokerNode(directory / "rabbitmq", passwords=PASSWORDS, extra_config=config)
    database, database_url = database_at(directory)
    broker.start()
    database.start()
    try:
        broker.wait_ready()
        wait_until(lambda: answers(database_url, directory / "authority.pem"), 30, "it answers", database)
        yield Encrypted(
            f"amqps://{{user}}:{{password}}@localhost:{port}/",
            database_url,
            str(directory / "authority.pem"),
            str(directory / "wrong.pem"),
        )
    finally:
        broker.kill()
        database.kill()


def database_at(directory: Path) -> tuple[Child, str]:
    """Return the embedded database with TLS, and its URL."""
    port = free_port()
    options = {
        "host": "127.0.0.1",
        "port": port,
        "storage-path": directory / "mongodb",
        "tls-cert-file": directory / "certificate.pem",
        "tls-key-file": directory / "key.pem",
    }
    program = Path(sys.executable).with_name("secantusd-py")
    argv = [str(program), *(f"--{name}={value}" for name, value in options.items())]
    url = f"mongodb://localhost:{port}/?directConnection=true&retryWrites=false&tls=true"
    return Child("The database", argv, log=directory / "mongodb.log"), url


def answers(url: str, authority: Path) -> bool:
    try:
        with MongoClient(url, tlsCAFile=str(authority), serverSelectionTimeoutMS=500) as client:  # type: ignore[var-annotated]
            return bool(client.admin.command("ping"))
    except PyMongoError:
        return False


@pytest.fixture
def environment(encrypted: Encrypted, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Settings with the right CA bundles."""
    monkeypatch.setenv("RABBITMQ_CA_FILE", encrypted.authority)
    monkeypatch.setenv("MONGODB_CA_FILE", encrypted.authority)
    return monkeypatch


def broker_url(encrypted: Encrypted, user: str) -> str:
    return encrypted.broker.format(user=user, password=PASSWORDS[user])


def elsewhere(url: str) -> str:
    """Return the same address under a name that the certificate does not contain."""
    return url.replace("localhost", "127.0.0.1")


def test_a_service_works_over_encrypted_links(
    encrypted: Encrypted, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with run_service(ORDER, broker_url(encrypted, ORDER), encrypted.database, tmp_path) as service:
        service.wait_ready()


WRONG = {
    # What it is called depends on whether the server sends the authority's certificate, too.
    "authority": "unable to get local issuer certificate|self-signed certificate in certificate chain",
    "name": "certificate is not valid for '127.0.0.1'",
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_broker_certificate_is_refused_in_one_line(
    encrypted: Encrypted, environment: pytest.MonkeyPatch, tmp_path: Path, wrong: str
) -> None:
    url = broker_url(encrypted, ORDER)
    if wrong == "authority":
        environment.setenv("RABBITMQ_CA_FILE", encrypted.wrong_authority)
    else:
        url = elsewhere(url)
    with run_service(ORDER, url, encrypted.database, tmp_path) as service:
        await service.says("the broker's certificate is not accepted", WRONG[wrong], "RABBITMQ_CA_FILE")


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_database_certificate_is_refused_in_one_line(
    encrypted: Encrypted, environment: pytest.MonkeyPatch, tmp_path: Path, wrong: str
) -> None:
    url = encrypted.database
    if wrong == "authority":
        environment.setenv("MONGODB_CA_FILE", encrypted.wrong_authority)
    else:
        url = elsewhere(url)
    with run_service(ORDER, broker_url(encrypted, ORDER), url, tmp_path) as service:
        await service.says("the database's certificate is not accepted", WRONG[wrong], "MONGODB_CA_FILE")


def test_without_a_ca_bundle_neither_is_trusted(
    encrypted: Encrypted, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.delenv("RABBITMQ_CA_FILE")
    environment.delenv("MONGODB_CA_FILE")
    url = broker_url(encrypted, OPERATOR)
    command = saga(environment, url, encrypted.database, "dead-letters", "list")
    assert "the broker's certificate is not accepted" in command


class TestCommandLine:
    def test_it_uses_encrypted_links(self, encrypted: Encrypted, environment: pytest.MonkeyPatch) -> None:
        url = broker_url(encrypted, OPERATOR)
        output = saga(environment, url, encrypted.database, "dead-letters", "list", code=0)
        assert "order_service: no dead letters" in output
        assert "orders" in saga(environment, url, encrypted.database, "audit", code=0)

    @pytest.mark.parametrize("command", [("dead-letters", "list"), ("audit",)])
    @pytest.mark.parametrize("wrong", WRONG)
    def test_a_wrong_certificate_is_explained_in_one_line(
        self, encrypted: Encrypted, environment: pytest.MonkeyPatch, command: tuple[str, ...], wrong: str
    ) -> None:
        broker, database = broker_url(encrypted, OPERATOR), encrypted.database
        if wrong == "authority":
            environment.setenv("RABBITMQ_CA_FILE", encrypted.wrong_authority)
            environment.setenv("MONGODB_CA_FILE", encrypted.wrong_authority)
        else:
            broker, database = elsewhere(broker), elsewhere(database)
        output = saga(environment, broker, f"{database}&serverSelectionTimeoutMS=2000", *command)
        assert "certificate is not accepted" in output
        assert re.search(WRONG[wrong], output)
        assert len(output.splitlines()) == 1
        assert PASSWORDS[OPERATOR] not in output


def saga(environment: pytest.MonkeyPatch, broker: str, database: str, *command: str, code: int = 1) -> str:
    """Run a command; return its output."""
    environment.setenv("RABBITMQ_URL", broker)
    environment.setenv("MONGODB_URL", database)
    result = CliRunner().invoke(main.app, list(command))
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result.output
