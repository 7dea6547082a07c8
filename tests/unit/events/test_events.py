"""The contracts: what is read, what is refused and how that is said, and how events get their ids."""

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from events.catalogue import (
    EVENT_TYPES,
    Event,
    InventoryReleaseRequested,
    InventoryReservationRequested,
    PaymentFailed,
    PaymentRefunded,
    PaymentRequested,
)
from events.codec import MAX_BYTES, InvalidEvent, decode, encode, from_json, parse_json, to_json
from events.identity import content_id, derived_id, transition_id, with_defaults, with_identity
from events.types import Money, Price
from tests.support.builders import FIELDS, LATER, NOW, event, every_event

REQUEST: dict[str, Any] = {
    "type": "InventoryReservationRequested",
    "orderId": "o-1",
    "userId": "u-1",
    "items": [{"productId": "tea", "quantity": 2}],
    "totalAmount": "25.00",
}
REFUNDED: dict[str, Any] = {"type": "PaymentRefunded", "orderId": "o-1", "amount": "0", "currency": "USD"}


def changed(**fields: object) -> dict[str, Any]:
    return {**REQUEST, **fields}


def amount_of(spelling: str) -> Decimal:
    """Return the amount that is read from a piece of JSON."""
    read = decode(json.dumps(changed(totalAmount="@")).replace('"@"', spelling))
    assert isinstance(read, InventoryReservationRequested)
    return read.total_amount


def problem(fields: dict[str, Any]) -> str:
    """Return why an event is refused."""
    with pytest.raises(InvalidEvent) as refusal:
        decode(json.dumps(fields))
    return str(refusal.value)


class TestRoundTrip:
    @pytest.mark.parametrize("original", every_event(), ids=lambda original: original.type)
    def test_every_type_comes_back_as_it_was(self, original: Event) -> None:
        text = encode(original)
        assert decode(text, forbid_unknown=True) == original
        assert encode(decode(text)) == text

    def test_an_event_never_changes(self) -> None:
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

    def test_names_are_in_camel_case_and_missing_fields_left_out(self) -> None:
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
    def test_an_event_without_id_correlation_or_time_is_not_written(self, field: str) -> None:
        with pytest.raises(ValueError, match="has no id, correlation id or time"):
            encode(event(PaymentFailed).model_copy(update={field: None}))

    def test_unknown_fields_are_tolerated_on_reading(self) -> None:
        assert decode(json.dumps(changed(note="later version"))) == decode(json.dumps(REQUEST))

    @pytest.mark.parametrize(
        ("fields", "name"),
        [
            (changed(note="?"), "note"),
            (changed(items=[{"productId": "tea", "quantity": 1, "colour": "green"}]), "items.0.colour"),
        ],
        ids=["at the top", "in a line"],
    )
    def test_unknown_fields_are_refused_when_asked_for(self, fields: dict[str, Any], name: str) -> None:
        with pytest.raises(InvalidEvent, match=f"^{name}: "):
            from_json(fields, forbid_unknown=True)


class TestMoney:
    @pytest.mark.parametrize(
        ("spelling", "amount"),
        [
            ("25.1", "25.1"),
            ("25.10", "25.1"),
            ('"25.10"', "25.1"),
            ("25", "25"),
            ('"25"', "25"),
            ("2.5e1", "25"),
            ("0.0001", "0.0001"),
            ("1.10000000000", "1.1"),
            ("999999999999.9999", "999999999999.9999"),
        ],
    )
    def test_amounts_are_read_exactly(self, spelling: str, amount: str) -> None:
        assert amount_of(spelling) == Decimal(amount)

    @pytest.mark.parametrize("value", [25.1, 25.0, True, False, None, [], {}])
    def test_a_binary_float_or_another_kind_is_refused(self, value: object) -> None:
        with pytest.raises(InvalidEvent, match=r"^totalAmount: must be an amount"):
            from_json(changed(totalAmount=value))

    @pytest.mark.parametrize(
        "spelling",
        [
            "NaN",
            "Infinity",
            "-Infinity",
            '"NaN"',
            '"sNaN"',
            '"Infinity"',
            '"-Infinity"',
            "true",
            '""',
            '"x"',
            '"25,00"',
            '"1_0"',
            '" 10 "',
            '"\u0663"',
            "0",
            "-1",
            '"-0.01"',
            "0.00001",
            '"25.00001"',
            "1000000000000",
            '"1e12"',
            '"1e999999"',
            '"1e9999999"',
            "9.9e999999999999999999",
            '"1e-999999"',
        ],
    )
    def test_what_is_no_amount_to_pay_is_refused(self, spelling: str) -> None:
        with pytest.raises(InvalidEvent):
            amount_of(spelling)

    def test_a_refund_may_be_of_nothing_but_not_of_less(self) -> None:
        assert from_json(REFUNDED) == PaymentRefunded(order_id="o-1", amount=0, currency="USD")
        assert problem({**REFUNDED, "amount": "-0.01"}) == "amount: must not be negative"

    @pytest.mark.parametrize(
        ("amount", "written"),
        [("25", "25.00"), ("25.1", "25.10"), ("0.125", "0.125"), ("1E+3", "1000.00"), ("0", "0.00")],
    )
    def test_amounts_are_written_with_two_places_at_least_and_no_exponent(
        self, amount: str, written: str
    ) -> None:
        refunded = with_defaults(from_json({**REFUNDED, "amount": amount}), NOW)
        assert to_json(refunded)["amount"] == written

    @pytest.mark.parametrize("zero", ["0", "-0", "0.00000000", "0e2"])
    def test_every_spelling_of_nothing_is_written_alike(self, zero: str) -> None:
        refunded = with_defaults(from_json({**REFUNDED, "amount": zero}), NOW)
        assert to_json(refunded)["amount"] == "0.00"

    def test_countless_places_are_not_kept(self) -> None:
        for spelling in ("25." + "0" * 3000, "2500000" + "0" * 3000 + "e-3005"):
            assert len(f"{amount_of(spelling):f}") < 20
        nothing = from_json({**REFUNDED, "amount": "0e-3000"})
        assert isinstance(nothing, PaymentRefunded)
        assert len(f"{nothing.amount:f}") < 20

    @pytest.mark.parametrize("kind", [Money, Price])
    @pytest.mark.parametrize(
        "text",
        ["25.00", "0.0001", "999999999999.9999", "1", "", "0", "0.00", "-1", "1.00001", "much", "1,5", " 1"],
    )
    def test_what_its_schema_says_of_a_text_is_what_is_read(self, kind: Any, text: str) -> None:
        adapter = TypeAdapter[Decimal](kind)
        pattern = adapter.json_schema()["anyOf"][0]["pattern"]
        try:
            adapter.validate_python(text)
            read = True
        except ValidationError:
            read = False
        assert bool(re.search(pattern, text)) is read

    @given(
        st.decimals(min_value="0.0001", max_value="999999999999.9999", places=4, allow_nan=False),
        st.booleans(),
    )
    def test_any_amount_comes_back_exactly(self, amount: Decimal, quoted: bool) -> None:
        assert amount_of(f'"{amount}"' if quoted else f"{amount}") == amount


class TestNumbers:
    @pytest.mark.parametrize("quantity", [1, 1_000_000])
    def test_quantities_within_bounds_are_read(self, quantity: int) -> None:
        read = from_json(changed(items=[{"productId": "tea", "quantity": quantity}]))
        assert isinstance(read, InventoryReservationRequested)
        assert read.items[0].quantity == quantity

    @pytest.mark.parametrize("quantity", ["0", "-1", "1000001", "1.0", "1.5", '"1"', "true", "null", "[]"])
    def test_other_quantities_are_refused(self, quantity: str) -> None:
        text = json.dumps(changed(items=[{"productId": "tea", "quantity": "@"}])).replace('"@"', quantity)
        with pytest.raises(InvalidEvent, match=r"^items\.0\.quantity: "):
            decode(text)

    @pytest.mark.parametrize("seconds", ["0", "-1", "2592001", "1.0", '"60"', "true"])
    def test_a_hold_lasts_a_whole_number_of_seconds_within_bounds(self, seconds: str) -> None:
        with pytest.raises(InvalidEvent, match=r"^expiresIn: "):
            decode(json.dumps(changed(expiresIn="@")).replace('"@"', seconds))

    @pytest.mark.parametrize("seconds", [1, 2_592_000])
    def test_a_hold_of_a_second_or_of_thirty_days_is_read(self, seconds: int) -> None:
        assert to_json(with_defaults(from_json(changed(expiresIn=seconds)), NOW))["expiresIn"] == seconds

    @pytest.mark.parametrize("number", ["-1", "1.0", '"1"', "true"])
    @pytest.mark.parametrize("field", ["requested", "available"])
    def test_a_count_is_a_whole_number_of_nothing_or_more(self, field: str, number: str) -> None:
        sample = to_json(event(EVENT_TYPES["InventoryReservationFailed"]))
        sample["shortages"] = [{"productId": "tea", "requested": 0, "available": 0, field: "@"}]
        decode(json.dumps(sample).replace('"@"', "0"))
        with pytest.raises(InvalidEvent, match=rf"^shortages\.0\.{field}: "):
            decode(json.dumps(sample).replace('"@"', number))

    @pytest.mark.parametrize(
        "place",
        [
            (90.1, 0),
            (-90.1, 0),
            (0, 180.1),
            (0, -180.1),
            ("nan", 0),
            (0, "inf"),
            (None, 0),
            (True, 0),
            (0, "13.4"),
        ],
    )
    def test_places_off_the_earth_are_refused(self, place: tuple[object, object]) -> None:
        with pytest.raises(InvalidEvent, match=r"^userLocation\."):
            from_json(changed(userLocation={"latitude": place[0], "longitude": place[1]}))

    @pytest.mark.parametrize(
        "moment",
        [
            "2026-03-01T12:00:00",
            "yesterday",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
        ],
    )
    def test_a_moment_without_zone_or_outside_of_the_calendar_is_refused(self, moment: str) -> None:
        assert problem(changed(occurredAt=moment)).startswith("occurredAt: ")


NO_IDS: list[object] = ["", "x" * 65, "a b", "a.b", "a/b", "a#", "a*", "é", "a\n", "\0", 1, True, []]


def id_fields() -> list[tuple[str, tuple[str | int, ...]]]:
    """Return every type with the path of each of its fields that holds an id."""
    found: list[tuple[str, tuple[str | int, ...]]] = []
    for kind, model in EVENT_TYPES.items():
        names = [field.alias or name for name, field in model.model_fields.items() if name.endswith("_id")]
        found += [(kind, (name,)) for name in names]
        if "items" in model.model_fields:
            found += [(kind, ("items", 0, name)) for name in ("productId", "warehouseId")]
        if "reservations" in model.model_fields:
            inner = ("reservationId", "productId", "warehouseId")
            found += [(kind, ("reservations", 0, name)) for name in inner]
        if "shortages" in model.model_fields:
            found.append((kind, ("shortages", 0, "productId")))
    return found


def with_id(kind: str, path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """Return the JSON of an event with this value at that path."""
    shortages = {"shortages": [{"productId": "tea", "requested": 2, "available": 1}]}
    sample = to_json(event(EVENT_TYPES[kind]))
    fields: Any = json.loads(json.dumps({**sample, **shortages} if path[0] == "shortages" else sample))
    inner = fields
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return dict(fields)


class TestPaymentMethods:
    @pytest.mark.parametrize(
        "text",
        [
            "4111111111111111",
            "4111-1111-1111-1111",
            "378282246310005",
            "card:5555555555554444",
            "pan=6011000990139424:12",
            "4222222222222",
            "tok_4111111111111111",
            "6304000000000000000"[:19],
        ],
    )
    def test_a_card_number_is_refused_and_not_repeated(self, text: str) -> None:
        said = problem(changed(paymentMethod=text))
        assert "paymentMethod: must be a reference of the payment provider" in said
        assert text not in said

    @pytest.mark.parametrize(
        "text",
        [
            "sim:delay:3.5",
            "4111111111111112",
            "pm-9e7f07cf-1dd1-4446-8d0e-83de6fa69abc",
            "00000000-0000-0000-0000-000000000000",
            "41111111111111110000",
            "ID_OVO:pt-7a3c",
        ],
    )
    def test_a_reference_is_not_taken_for_one(self, text: str) -> None:
        read = decode(json.dumps(changed(paymentMethod=text)))
        assert isinstance(read, InventoryReservationRequested)
        assert read.payment_method == text


@pytest.mark.parametrize(
    ("kind", "path"),
    id_fields(),
    ids=lambda part: part if isinstance(part, str) else ".".join(map(str, part)),
)
class TestIds:
    def test_letters_digits_dash_and_underscore_are_taken(
        self, kind: str, path: tuple[str | int, ...]
    ) -> None:
        for value in ("a", "Z-9_", "x" * 64):
            assert from_json(with_id(kind, path, value))

    def test_anything_else_is_refused_with_the_name_of_the_field(
        self, kind: str, path: tuple[str | int, ...]
    ) -> None:
        for value in NO_IDS:
            with pytest.raises(InvalidEvent) as refusal:
                from_json(with_id(kind, path, value))
            assert str(refusal.value).startswith(f"{'.'.join(map(str, path))}: "), value


class TestRefusal:
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
    def test_it_names_the_field_as_it_is_called_in_json(self, fields: dict[str, Any], start: str) -> None:
        assert problem(fields).startswith(start)

    def test_it_names_every_wrong_field(self) -> None:
        assert {part.split(":")[0] for part in problem(changed(orderId="", totalAmount=0)).split("; ")} == {
            "orderId",
            "totalAmount",
        }

    @pytest.mark.parametrize(
        "kind", [None, 1, True, [], {}, ["PaymentFailed"], "", "paymentFailed", "x" * 999]
    )
    def test_another_type_is_no_event(self, kind: object) -> None:
        assert problem(changed(type=kind)).startswith("type: ")

    def test_a_long_wrong_type_is_quoted_in_part(self) -> None:
        assert "x" * 100 not in problem(changed(type="x" * 999))

    @pytest.mark.parametrize("fields", [None, 1, "x", True, [], [REQUEST]])
    def test_what_is_no_object_is_no_event(self, fields: object) -> None:
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
    def test_what_is_not_json_is_no_event(self, body: bytes) -> None:
        with pytest.raises(InvalidEvent, match=r"^not JSON: "):
            parse_json(body)

    @pytest.mark.parametrize("depth", [500, 990, 2_000, 100_000])
    @pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")])
    @pytest.mark.parametrize("field", ["type", "orderId", "items", "note"])
    def test_deep_nesting_raises_nothing_else(self, depth: int, start: str, end: str, field: str) -> None:
        nested = f"{start * depth}1{end * depth}" if start != "[" else start * depth + end * depth
        text = json.dumps(changed(**{field: "@"})).replace('"@"', nested)
        with pytest.raises(InvalidEvent):
            decode(text, forbid_unknown=True)

    @pytest.mark.parametrize("body", [b" " * (MAX_BYTES + 1), " " * (MAX_BYTES + 1)])
    def test_what_is_too_long_is_not_even_parsed(self, body: bytes | str) -> None:
        with pytest.raises(InvalidEvent, match="longer than"):
            decode(body)

    def test_the_longest_text_is_read(self) -> None:
        assert decode(json.dumps(REQUEST).encode().ljust(MAX_BYTES)) == from_json(REQUEST)

    @given(st.binary())
    def test_arbitrary_bytes_raise_nothing_else(self, body: bytes) -> None:
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


def read_or_refuse(text: str) -> None:
    """Read a text; an event that is read must be fit to be published and recorded."""
    try:
        read = decode(text, forbid_unknown=True)
    except InvalidEvent:
        return
    text_again = encode(with_defaults(read, NOW))
    assert encode(decode(text_again)) == text_again


@given(ANYTHING)
def test_arbitrary_json_raises_nothing_but_invalid_event(value: object) -> None:
    read_or_refuse(json.dumps(value))


@given(st.data())
def test_an_event_with_arbitrary_fields_is_read_or_refused(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(EVENT_TYPES)))
    fields = to_json(event(EVENT_TYPES[kind]))
    for name in data.draw(st.lists(st.sampled_from(sorted(fields)), max_size=3)):
        fields[name] = data.draw(ANYTHING)
    read_or_refuse(json.dumps(fields))


class TestContentId:
    def test_order_spelling_and_explicit_defaults_make_no_other_event(self) -> None:
        spellings = [
            REQUEST,
            dict(reversed(REQUEST.items())),
            changed(totalAmount=Decimal("25.0")),
            changed(totalAmount=25),
            changed(currency="USD", version=1, userLocation=None, expiresIn=None, paymentMethod=None),
            changed(eventId=None, correlationId=None, causationId=None, occurredAt=None),
            changed(items=[{"quantity": 2, "warehouseId": None, "productId": "tea"}]),
            changed(note="not understood"),
        ]
        assert len({content_id(from_json(fields)) for fields in spellings}) == 1

    def test_white_space_makes_no_other_event(self) -> None:
        assert content_id(decode(json.dumps(REQUEST, indent=4))) == content_id(decode(json.dumps(REQUEST)))

    def test_an_id_is_not_part_of_the_content(self) -> None:
        assert content_id(from_json(changed(eventId="e-1"))) == content_id(from_json(REQUEST))

    def test_other_content_is_another_event(self) -> None:
        others = [
            REQUEST,
            changed(orderId="o-2"),
            changed(userId="u-2"),
            changed(totalAmount="25.01"),
            changed(currency="EUR"),
            changed(expiresIn=60),
            changed(correlationId="c-1"),
            changed(paymentMethod="sim:decline"),
            changed(userLocation={"latitude": 1, "longitude": 2}),
            changed(userLocation={"latitude": 2, "longitude": 1}),
            changed(items=[{"productId": "tea", "quantity": 3}]),
            changed(items=[{"productId": "tea", "quantity": 2, "warehouseId": "berlin"}]),
        ]
        assert len({content_id(from_json(fields)) for fields in others}) == len(others)

    def test_two_types_with_the_same_fields_are_two_events(self) -> None:
        fields = {"orderId": "o-1", "reason": "x"}
        kinds = ("PaymentFailed", "InventoryConfirmationFailed", "InventoryReleaseRequested")
        assert len({content_id(from_json({**fields, "type": kind})) for kind in kinds}) == 3

    def test_it_never_changes(self) -> None:
        assert content_id(from_json(REQUEST)) == "b94e5f43-6817-56c2-a6c7-bee9898d7292"


class TestDerivedIds:
    def test_they_never_change(self) -> None:
        assert derived_id("e-1", "OrderFailed") == "292dbb5e-cb63-54f3-b093-8188c342b9aa"
        assert derived_id("e-1", "OrderFailed", 1) == "af96d621-f3d2-547d-9786-fc864f1ac0ff"
        assert transition_id("order_service", "o-1", "cancelled") == "eea2f104-4722-584d-9d3d-c164e379c412"

    def test_cause_type_and_index_tell_them_apart(self) -> None:
        ids = [
            derived_id(cause, kind, index)
            for cause in ("e-1", "e-2")
            for kind in EVENT_TYPES
            for index in range(3)
        ]
        assert len(set(ids)) == len(ids)

    def test_service_order_and_name_tell_transitions_apart(self) -> None:
        ids = {
            transition_id(service, order_id, name)
            for service in ("order_service", "inventory_service")
            for order_id in ("o-1", "o-2")
            for name in ("cancelled", "deadline")
        }
        assert len(ids) == 8


class TestStamping:
    def test_what_a_publisher_left_out_is_filled_in(self) -> None:
        read = from_json(REQUEST)
        known = with_defaults(read, NOW)
        assert (known.event_id, known.correlation_id, known.occurred_at) == (content_id(read), "o-1", NOW)

    def test_what_a_publisher_set_is_kept(self) -> None:
        known = event(PaymentFailed)
        assert with_defaults(known, LATER) == known

    def test_everything_is_filled_in(self) -> None:
        drafts = [
            InventoryReleaseRequested(order_id="o-1", reason="x"),
            PaymentRequested(order_id="o-1", user_id="u-1", amount=1, idempotency_key="order-o-1"),
            InventoryReleaseRequested(order_id="o-1", reason="y"),
        ]
        events = with_identity(
            drafts, record_id="e-1", caused_by="e-0", correlation_id="c-1", occurred_at=NOW
        )
        assert [one.event_id for one in events] == [
            derived_id("e-1", "InventoryReleaseRequested"),
            derived_id("e-1", "PaymentRequested"),
            derived_id("e-1", "InventoryReleaseRequested", 1),
        ]
        assert {(one.correlation_id, one.causation_id, one.occurred_at) for one in events} == {
            ("c-1", "e-0", NOW)
        }
        assert [getattr(one, "reason", None) for one in events] == ["x", None, "y"]
        assert all(encode(one) for one in events)

    def test_what_was_emitted_before_counts_for_the_index(self) -> None:
        (again,) = with_identity(
            [PaymentFailed(order_id="o-1", reason="x")],
            record_id="e-1",
            caused_by=None,
            correlation_id="c-1",
            occurred_at=NOW + timedelta(hours=1),
            already=["PaymentFailed", "PaymentRefunded", "PaymentFailed"],
        )
        assert again.event_id == derived_id("e-1", "PaymentFailed", 2)
        assert again.causation_id is None
