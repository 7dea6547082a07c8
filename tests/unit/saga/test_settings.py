"""Settings from the environment; a wrong one is named and never shown."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from inventory_service.settings import InventorySettings
from order_service.settings import OrderSettings
from payment_service.providers.directives import ChargeRule
from payment_service.reactions import Retries
from payment_service.settings import PaymentSettings
from saga.settings import ServiceSettings, read, read_to_serve

KINDS: dict[str, type[ServiceSettings]] = {
    "ORDER": OrderSettings,
    "INVENTORY": InventorySettings,
    "PAYMENT": PaymentSettings,
}
CA_FILES = ("RABBITMQ_CA_FILE", "MONGODB_CA_FILE")
COMMON = ("RABBITMQ_URL", "MONGODB_URL", "LOG_LEVEL", "SAGA_TOKENS", "SAGA_TOKENS_FILE")
TOKEN = "s3cret-" * 4


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignore the settings of the environment that the tests run in."""
    for prefix, kind in KINDS.items():
        for name in kind.model_fields:
            monkeypatch.delenv(f"{prefix}_{name}".upper(), raising=False)
    for name in (*COMMON, *CA_FILES):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("prefix", "port", "database"),
    [
        ("ORDER", 8001, "order_service"),
        ("INVENTORY", 8002, "inventory_service"),
        ("PAYMENT", 8003, "payment_service"),
    ],
)
def test_every_setting_has_a_default(prefix: str, port: int, database: str) -> None:
    settings = read(KINDS[prefix])
    assert (settings.port, settings.database) == (port, database)
    assert settings.rabbitmq_url.get_secret_value() == "amqp://guest:guest@127.0.0.1:5672/"
    assert settings.mongodb_url.get_secret_value() == "mongodb://127.0.0.1:27017/"
    assert settings.retry_delays == (1, 5, 30, 300)


@pytest.mark.parametrize("prefix", KINDS)
def test_a_service_reads_common_and_its_own_variables(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITMQ_URL", "amqp://u:p@broker/")
    monkeypatch.setenv("MONGODB_URL", "mongodb://u:p@database/")
    monkeypatch.setenv("LOG_LEVEL", "warning")
    monkeypatch.setenv(f"{prefix}_PORT", "9001")
    monkeypatch.setenv(f"{prefix}_HOST", "0.0.0.0")  # noqa: S104
    for other in KINDS.keys() - {prefix}:
        monkeypatch.setenv(f"{other}_PORT", "9999")
    settings = read(KINDS[prefix])
    assert settings.rabbitmq_url.get_secret_value() == "amqp://u:p@broker/"
    assert settings.mongodb_url.get_secret_value() == "mongodb://u:p@database/"
    assert settings.log_level == "warning"
    assert (settings.port, settings.host) == (9001, "0.0.0.0")  # noqa: S104


def test_urls_have_no_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDER_RABBITMQ_URL", "amqp://elsewhere/")
    assert read(OrderSettings).rabbitmq_url.get_secret_value() == "amqp://guest:guest@127.0.0.1:5672/"


@pytest.mark.parametrize(
    ("text", "delays"), [("1,5,30", (1.0, 5.0, 30.0)), ("0.5", (0.5,)), (" 1 , 2 ", (1.0, 2.0))]
)
def test_delays_are_separated_by_commas(
    text: str, delays: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVENTORY_RETRY_DELAYS", text)
    assert read(InventorySettings).retry_delays == delays


def test_the_simulated_providers_behaviour_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYMENT_SIM_DELAY", "0.5")
    monkeypatch.setenv("PAYMENT_SIM_DECLINE_RATE", "0.25")
    monkeypatch.setenv("PAYMENT_SIM_DECLINE_ABOVE", "99.90")
    monkeypatch.setenv("PAYMENT_SIM_SEED", "7")
    monkeypatch.setenv("PAYMENT_SIM_RULES", "above:1000=decline, rate:0.1=timeout:1:delay:2")
    behaviour = read(PaymentSettings).behaviour()
    assert (behaviour.delay, behaviour.decline_rate, behaviour.seed) == (0.5, 0.25, 7)
    assert behaviour.decline_above == Decimal("99.90")
    assert behaviour.rules == (
        ChargeRule("above", "1000", {"decline": 0.0}),
        ChargeRule("rate", "0.1", {"timeout": 1.0, "delay": 2.0}),
    )


def test_the_retries_of_refunds_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(PaymentSettings).retries() == Retries()
    monkeypatch.setenv("PAYMENT_REFUND_ATTEMPTS", "7")
    monkeypatch.setenv("PAYMENT_REFUND_PAUSE", "0.5")
    assert read(PaymentSettings).retries() == Retries(7, timedelta(seconds=0.5))


WRONG: dict[str, tuple[type[ServiceSettings], str, str]] = {
    "a port that is not a number": (OrderSettings, "ORDER_PORT", "s3cret"),
    "an unknown log level": (OrderSettings, "LOG_LEVEL", "s3cret"),
    "a delay that is not a number": (OrderSettings, "ORDER_RETRY_DELAYS", "1,s3cret"),
    "a delay of zero": (InventorySettings, "INVENTORY_RETRY_DELAYS", "1,0"),
    "no delays": (InventorySettings, "INVENTORY_RETRY_DELAYS", ""),
    "a batch of zero": (InventorySettings, "INVENTORY_BATCH_LIMIT", "0"),
    "a hold of zero": (InventorySettings, "INVENTORY_HOLD_SECONDS", "0"),
    "an endless relay delay": (PaymentSettings, "PAYMENT_RELAY_AFTER", "inf"),
    "more than every charge declined": (PaymentSettings, "PAYMENT_SIM_DECLINE_RATE", "1.5"),
    "an unknown provider": (PaymentSettings, "PAYMENT_PROVIDER", "s3cret"),
    "an address with a login": (PaymentSettings, "PAYMENT_XENDIT_URL", "https://key:s3cret@api.xendit.co"),
    "a page without TLS": (PaymentSettings, "PAYMENT_XENDIT_RETURN_URL", "http://s3cret.example"),
    "no attempt at a refund": (PaymentSettings, "PAYMENT_REFUND_ATTEMPTS", "0"),
    "an invalid rule": (PaymentSettings, "PAYMENT_SIM_RULES", "rate:0.1=s3cret"),
    "an invalid time-out": (PaymentSettings, "PAYMENT_CALL_TIMEOUT", "nan"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_value_is_named_and_not_shown(
    case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, variable, value = WRONG[case]
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as ended:
        read(kind)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert lines
    assert all(line.startswith(f"{variable}: ") for line in lines)
    assert "s3cret" not in printed.err


def test_every_wrong_value_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PAYMENT_PORT", "none")
    monkeypatch.setenv("PAYMENT_CALL_TIMEOUT", "-1")
    with pytest.raises(SystemExit):
        read(PaymentSettings)
    named = {line.partition(":")[0] for line in capsys.readouterr().err.splitlines()}
    assert named == {"PAYMENT_PORT", "PAYMENT_CALL_TIMEOUT"}


def test_xendit_needs_its_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PAYMENT_PROVIDER", "xendit")
    monkeypatch.setenv("PAYMENT_XENDIT_CALLBACK_TOKEN", "")
    with pytest.raises(SystemExit):
        read(PaymentSettings)
    named = {line.partition(":")[0] for line in capsys.readouterr().err.splitlines()}
    assert named == {"PAYMENT_XENDIT_SECRET_KEY", "PAYMENT_XENDIT_CALLBACK_TOKEN"}


def test_xendits_secrets_are_read_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYMENT_PROVIDER", "xendit")
    monkeypatch.setenv("PAYMENT_XENDIT_SECRET_KEY", "xnd_s3cret")
    monkeypatch.setenv("PAYMENT_XENDIT_CALLBACK_TOKEN", "s3cret")
    settings = read(PaymentSettings)
    assert settings.xendit_url == "https://api.xendit.co"
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "s3cret" not in shown


def test_secrets_are_not_shown_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITMQ_URL", "amqp://user:s3cret@broker/")
    monkeypatch.setenv("MONGODB_URL", "mongodb://user:s3cret@database/")
    monkeypatch.setenv("SAGA_TOKENS", f"orders:{TOKEN}")
    settings = read(OrderSettings)
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "s3cret" not in shown


@pytest.mark.parametrize("prefix", KINDS)
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "shop.example.com"])  # noqa: S104
def test_tokens_are_required_beyond_localhost(
    prefix: str, host: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"{prefix}_HOST", host)
    with pytest.raises(SystemExit) as ended:
        read_to_serve(KINDS[prefix])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    for part in (host, "SAGA_TOKENS=", "SAGA_TOKENS_FILE", f"{prefix}_HOST=127.0.0.1"):
        assert part in line
    assert read(KINDS[prefix]).host == host


def test_tokens_allow_any_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ORDER_HOST", "10.1.2.3")
    monkeypatch.setenv("SAGA_TOKENS", f"orders:{TOKEN}")
    assert read_to_serve(OrderSettings).access().caller(TOKEN)
    (tmp_path / "tokens").write_text(f"stock:{TOKEN}-of-the-file\n")
    monkeypatch.setenv("SAGA_TOKENS_FILE", str(tmp_path / "tokens"))
    access = read_to_serve(OrderSettings).access()
    assert access.caller(TOKEN)
    assert access.caller(f"{TOKEN}-of-the-file")


def test_localhost_needs_no_tokens() -> None:
    assert read_to_serve(OrderSettings).access().open


@pytest.mark.parametrize("file", ["missing", "a directory", "no text"])
def test_an_unreadable_file_of_tokens_is_an_error(
    file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a directory").mkdir()
    (tmp_path / "no text").write_bytes(b"\xff")
    monkeypatch.setenv("SAGA_TOKENS_FILE", str(tmp_path / file))
    with pytest.raises(SystemExit):
        read_to_serve(OrderSettings)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("SAGA_TOKENS: ")
    assert file in line


def test_a_malformed_token_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAGA_TOKENS", "orders=s3cret")
    with pytest.raises(SystemExit):
        read_to_serve(OrderSettings)
    printed = capsys.readouterr().err
    assert "SAGA_TOKENS: token 1 is malformed" in printed
    assert "s3cret" not in printed
