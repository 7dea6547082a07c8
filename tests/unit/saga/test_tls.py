"""CA bundles for the connections to broker and database, in the settings and on the command line."""

import os
from pathlib import Path

import pytest
import trustme

from operations import endpoints
from operations.errors import CommandFailed
from order_service.settings import OrderSettings
from saga.settings import read

URLS = ("RABBITMQ_URL", "MONGODB_URL")
CA_FILES = ("RABBITMQ_CA_FILE", "MONGODB_CA_FILE")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignore the settings of the environment that the tests run in."""
    for name in (*URLS, *CA_FILES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def authority(tmp_path: Path) -> str:
    """A file with the certificate of an authority."""
    file = tmp_path / "authority.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    return str(file)


def test_ca_bundles_are_added_to_the_urls(monkeypatch: pytest.MonkeyPatch, authority: str) -> None:
    monkeypatch.setenv("RABBITMQ_URL", "amqps://u:p@broker/v?heartbeat=5")
    monkeypatch.setenv("MONGODB_URL", "mongodb://u:p@database/?tls=true")
    for name in CA_FILES:
        monkeypatch.setenv(name, authority)
    settings = read(OrderSettings)
    quoted = authority.replace("/", "%2F")
    assert settings.broker == f"amqps://u:p@broker/v?heartbeat=5&cafile={quoted}"
    assert settings.mongodb == f"mongodb://u:p@database/?tls=true&tlsCAFile={quoted}"
    found = endpoints.find({name: os.environ[name] for name in (*CA_FILES, *URLS)})
    assert (found.rabbitmq, *found.mongodb_by_service.values()) == (settings.broker, *[settings.mongodb] * 3)


@pytest.mark.parametrize("variable", CA_FILES)
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_invalid_ca_bundle_is_named(
    variable: str,
    content: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "authority.pem"
    if content:
        file.write_text(content)
    monkeypatch.setenv("RABBITMQ_URL", "amqps://broker/")
    monkeypatch.setenv("MONGODB_URL", "mongodb://database/?tls=true")
    monkeypatch.setenv(variable, str(file))
    with pytest.raises(SystemExit):
        read(OrderSettings)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{variable}: ")
    with pytest.raises(CommandFailed, match=variable):
        endpoints.find(os.environ)


@pytest.mark.parametrize("variable", CA_FILES)
@pytest.mark.parametrize(
    "database", ["mongodb://u:s3cret@database/", "mongodb://u:s3cret@database/?tls=false"]
)
def test_a_ca_bundle_needs_an_encrypted_url(
    variable: str,
    database: str,
    authority: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RABBITMQ_URL", "amqp://u:s3cret@broker/")
    monkeypatch.setenv("MONGODB_URL", database)
    monkeypatch.setenv(variable, authority)
    with pytest.raises(SystemExit):
        read(OrderSettings)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{variable}: ")
    assert "s3cret" not in line
    with pytest.raises(CommandFailed, match=variable):
        endpoints.find(os.environ)
