"""`saga publish`: an event is checked before it is published."""

import json

import pytest

from cli import main, publish
from events.codec import from_json
from tests.support.command_line import REQUEST, one_line, runner


@pytest.mark.parametrize(
    ("kind", "fields", "named"),
    [
        ("InventoryReserved", {}, "userId"),
        ("OrderPlaced", REQUEST, "'OrderPlaced' is not an event type"),
        ("InventoryReservationRequested", {**REQUEST, "totalAmount": "-1"}, "totalAmount"),
        ("InventoryReservationRequested", {**REQUEST, "totlAmount": "1"}, "totlAmount"),
        ("InventoryReservationRequested", {**REQUEST, "items": []}, "items"),
        ("InventoryReservationRequested", {**REQUEST, "orderId": "a.b"}, "orderId"),
        ("InventoryReservationRequested", {**REQUEST, "type": "OrderCreated"}, "type"),
        ("InventoryReservationRequested", [], "JSON object"),
    ],
)
def test_invalid_field_is_named(kind: str, fields: object, named: str) -> None:
    for options, stdin in ((["--data", json.dumps(fields)], None), ([], json.dumps(fields))):
        result = runner.invoke(main.app, ["publish", kind, *options], input=stdin)
        assert result.exit_code == 2
        assert named in result.stderr


def test_text_that_is_not_json_is_rejected() -> None:
    result = runner.invoke(main.app, ["publish", "OrderFailed", "--data", "{"])
    assert result.exit_code == 2
    assert "not JSON" in result.stderr


def test_type_is_filled_in() -> None:
    read = publish.read_event("InventoryReservationRequested", json.dumps(REQUEST))
    assert read == from_json({**REQUEST, "type": "InventoryReservationRequested"})


def test_unreachable_broker_is_reported_without_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITMQ_URL", "amqp://saga:secret@127.0.0.1:1/")
    result = runner.invoke(
        main.app, ["publish", "InventoryReservationRequested", "--data", json.dumps(REQUEST)]
    )
    assert result.exit_code == 1
    assert "saga up" in one_line(result.stderr)
    assert "secret" not in result.stderr
