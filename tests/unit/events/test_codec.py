"""Events to JSON and back: what is read, what is rejected, and for which reason."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from events.catalogue import (
    EVENT_TYPES,
    Event,
    PaymentFailed,
)
from events.codec import MAX_BYTES, InvalidEvent, decode, encode, from_json, parse_json, to_json
from events.identity import with_defaults
from tests.support.builders import FIELDS, NOW, event, every_event
from tests.support.event_json import REQUEST, changed, problem


class TestRoundTrip:
    @pytest.mark.parametrize("original", every_event(), ids=lambda original: original.type)
    def test_every_type_comes_back_unchanged(self, original: Event) -> None:
        text = encode(original)
        assert decode(text, forbid_unknown=True) == original
        assert encode(decode(text)) == text

    def test_events_are_immutable(self) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            event(PaymentFailed).reason = "another"

    def test_the_samples_cover_every_type(self) -> None:
        assert set(FIELDS) == set(EVENT_TYPES)

    def test_optional_fields_come_back_too(self) -> None:
        body = changed(
            eventId="e-1",
            correlationId="c-1",
            causationId="e-0",
            occurredAt="2026-03-01T13:00:00.125+01:00",
            items=[{"productId": "tea", "quantity": 2, "warehouseId": "berlin"}],
            userLocation={"latitude": 52.5, "longitude": -13},
            expiresIn=60,
            paymentMethod="sim:delay:0.5",
            currency="EUR",
        )
        written = to_json(decode(json.dumps(body)))
        assert written == {
            **body,
            "version": 1,
            "occurredAt": "2026-03-01T12:00:00.125Z",
            "userLocation": {"latitude": 52.5, "longitude": -13.0},
        }

    def test_names_are_camel_case_without_missing_fields(self) -> None:
        assert to_json(event(PaymentFailed)) == {
            "type": "PaymentFailed",
            "version": 1,
            "eventId": "e-PaymentFailed",
            "correlationId": "c-1",
            "occurredAt": "2026-03-01T12:00:00.000Z",
            "orderId": "o-1",
            "reason": "declined",
        }

    @pytest.mark.parametrize("field", ["event_id", "correlation_id", "occurred_at"])
    def test_an_incomplete_event_is_not_written(self, field: str) -> None:
        with pytest.raises(ValueError, match="has no id, correlation id or time"):
            encode(event(PaymentFailed).model_copy(update={field: None}))

    def test_unknown_fields_are_ignored(self) -> None:
        assert decode(json.dumps(changed(note="later version"))) == decode(json.dumps(REQUEST))

    @pytest.mark.parametrize(
        ("fields", "name"),
        [
            (changed(note="?"), "note"),
            (changed(items=[{"productId": "tea", "quantity": 1, "colour": "green"}]), "items.0.colour"),
        ],
        ids=["at the top", "in a line"],
    )
    def test_unknown_fields_can_be_forbidden(self, fields: dict[str, Any], name: str) -> None:
        with pytest.raises(InvalidEvent, match=f"^{name}: "):
            from_json(fields, forbid_unknown=True)


class TestRejection:
    @pytest.mark.parametrize(
        ("fields", "start"),
        [
            ({key: value for key, value in REQUEST.items() if key != "orderId"}, "orderId: Field required"),
            ({key: value for key, value in REQUEST.items() if key != "userId"}, "userId: Field required"),
            (changed(items=[]), "items: "),
            (changed(items="tea"), "items: "),
            (changed(items=[{"productId": "tea"}]), "items.0.quantity: Field required"),
            (changed(items=[{"productId": f"p{n}", "quantity": 1} for n in range(101)]), "items: "),
            (changed(items=REQUEST["items"] * 2), "items: must not name the same product and warehouse"),
            (
                changed(
                    items=[
                        {"productId": "tea", "quantity": 600_000, "warehouseId": "berlin"},
                        {"productId": "tea", "quantity": 400_001},
                    ]
                ),
                "items: must not ask for more than 1000000 units of a product in all",
            ),
            (changed(currency="usd"), "currency: "),
            (changed(paymentMethod="4111 1111"), "paymentMethod: "),
            (changed(userLocation={"latitude": 1}), "userLocation.longitude: Field required"),
            (changed(version=2), "version: "),
            ({"type": "PaymentFailed", "orderId": "o-1", "reason": ""}, "reason: "),
            ({"type": "PaymentFailed", "orderId": "o-1", "reason": "x" * 501}, "reason: "),
            ({"type": "PaymentFailed", "orderId": "o-1", "reason": "\ud800"}, "reason: "),
        ],
    )
    def test_a_wrong_field_is_named_as_in_json(self, fields: dict[str, Any], start: str) -> None:
        assert problem(fields).startswith(start)

    def test_every_wrong_field_is_named(self) -> None:
        assert {part.split(":")[0] for part in problem(changed(orderId="", totalAmount=0)).split("; ")} == {
            "orderId",
            "totalAmount",
        }

    @pytest.mark.parametrize(
        "kind", [None, 1, True, [], {}, ["PaymentFailed"], "", "paymentFailed", "x" * 999]
    )
    def test_an_unknown_type_is_rejected(self, kind: object) -> None:
        assert problem(changed(type=kind)).startswith("type: ")

    def test_a_long_type_is_not_repeated(self) -> None:
        assert "x" * 100 not in problem(changed(type="x" * 999))

    @pytest.mark.parametrize("fields", [None, 1, "x", True, [], [REQUEST]])
    def test_only_an_object_is_an_event(self, fields: object) -> None:
        with pytest.raises(InvalidEvent, match="an event is a JSON object"):
            decode(json.dumps(fields))

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"\xff\xfe",
            b"\xef\xbb\xbf{}",
            b"{'a': 1}",
            b'{"a": NaN}',
            b'{"a": ' + b"9" * 5000 + b"}",
            b'{"a": 1e99999999999999999999}',
            b'{"a": 1e-99999999999999999999}',
        ],
    )
    def test_invalid_json_is_rejected(self, body: bytes) -> None:
        with pytest.raises(InvalidEvent, match=r"^not JSON: "):
            parse_json(body)

    @pytest.mark.parametrize("depth", [500, 990, 2_000, 100_000])
    @pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")])
    @pytest.mark.parametrize("field", ["type", "orderId", "items", "note"])
    def test_deep_nesting_is_an_invalid_event(self, depth: int, start: str, end: str, field: str) -> None:
        nested = f"{start * depth}1{end * depth}" if start != "[" else start * depth + end * depth
        text = json.dumps(changed(**{field: "@"})).replace('"@"', nested)
        with pytest.raises(InvalidEvent):
            decode(text, forbid_unknown=True)

    @pytest.mark.parametrize("body", [b" " * (MAX_BYTES + 1), " " * (MAX_BYTES + 1)])
    def test_a_text_that_is_too_long_is_rejected_unparsed(self, body: bytes | str) -> None:
        with pytest.raises(InvalidEvent, match="longer than"):
            decode(body)

    def test_the_longest_text_is_read(self) -> None:
        assert decode(json.dumps(REQUEST).encode().ljust(MAX_BYTES)) == from_json(REQUEST)

    @given(st.binary())
    def test_arbitrary_bytes_are_an_invalid_event(self, body: bytes) -> None:
        with pytest.raises(InvalidEvent):
            decode(body)


PIECES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters()),
    st.decimals().map(str),
    st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
    st.sampled_from(["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1e999", "sNaN", "-0"]),
)
ANYTHING = st.recursive(
    PIECES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


def read_or_reject(text: str) -> None:
    """Read a text; an event that is read must be fit to be published and recorded."""
    try:
        read = decode(text, forbid_unknown=True)
    except InvalidEvent:
        return
    complete = with_defaults(read, NOW)
    text_again = encode(complete)
    assert json.loads(text_again) == to_json(complete)
    assert encode(decode(text_again)) == text_again


@given(ANYTHING)
def test_arbitrary_json_is_read_or_rejected(value: object) -> None:
    read_or_reject(json.dumps(value))


@given(st.data())
def test_an_event_with_arbitrary_fields_is_read_or_rejected(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(EVENT_TYPES)))
    fields = to_json(event(EVENT_TYPES[kind]))
    for name in data.draw(st.lists(st.sampled_from(sorted(fields)), max_size=3)):
        fields[name] = data.draw(ANYTHING)
    read_or_reject(json.dumps(fields))
