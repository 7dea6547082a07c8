"""The scalar types of events: what is read, what is rejected, and how it is written."""

import json
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from events.catalogue import (
    EVENT_TYPES,
    InventoryReservationRequested,
    PaymentRefunded,
)
from events.codec import InvalidEvent, decode, from_json, to_json
from events.identity import with_defaults
from events.types import Money, Price
from tests.support.builders import NOW, event
from tests.support.event_json import REFUNDED, amount_of, changed, problem


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
    def test_binary_floats_and_other_kinds_are_rejected(self, value: object) -> None:
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
    def test_invalid_amounts_are_rejected(self, spelling: str) -> None:
        with pytest.raises(InvalidEvent):
            amount_of(spelling)

    def test_a_refund_may_be_zero_but_not_negative(self) -> None:
        assert from_json(REFUNDED) == PaymentRefunded(order_id="o-1", amount=0, currency="USD")
        assert problem({**REFUNDED, "amount": "-0.01"}) == "amount: must not be negative"

    @pytest.mark.parametrize(
        ("amount", "written"),
        [("25", "25.00"), ("25.1", "25.10"), ("0.125", "0.125"), ("1E+3", "1000.00"), ("0", "0.00")],
    )
    def test_amounts_are_written_plainly_with_two_places(self, amount: str, written: str) -> None:
        refunded = with_defaults(from_json({**REFUNDED, "amount": amount}), NOW)
        assert to_json(refunded)["amount"] == written

    @pytest.mark.parametrize("zero", ["0", "-0", "0.00000000", "0e2"])
    def test_every_spelling_of_zero_is_written_alike(self, zero: str) -> None:
        refunded = with_defaults(from_json({**REFUNDED, "amount": zero}), NOW)
        assert to_json(refunded)["amount"] == "0.00"

    def test_excess_decimal_places_are_dropped(self) -> None:
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
    def test_the_schema_accepts_exactly_what_is_read(self, kind: Any, text: str) -> None:
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
    def test_other_quantities_are_rejected(self, quantity: str) -> None:
        text = json.dumps(changed(items=[{"productId": "tea", "quantity": "@"}])).replace('"@"', quantity)
        with pytest.raises(InvalidEvent, match=r"^items\.0\.quantity: "):
            decode(text)

    @pytest.mark.parametrize("seconds", ["0", "-1", "2592001", "1.0", '"60"', "true"])
    def test_other_durations_of_a_hold_are_rejected(self, seconds: str) -> None:
        with pytest.raises(InvalidEvent, match=r"^expiresIn: "):
            decode(json.dumps(changed(expiresIn="@")).replace('"@"', seconds))

    @pytest.mark.parametrize("seconds", [1, 2_592_000])
    def test_a_hold_lasts_a_second_to_thirty_days(self, seconds: int) -> None:
        assert to_json(with_defaults(from_json(changed(expiresIn=seconds)), NOW))["expiresIn"] == seconds

    @pytest.mark.parametrize("number", ["-1", "1.0", '"1"', "true"])
    @pytest.mark.parametrize("field", ["requested", "available"])
    def test_a_count_is_a_whole_number_from_zero(self, field: str, number: str) -> None:
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
    def test_invalid_coordinates_are_rejected(self, place: tuple[object, object]) -> None:
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
    def test_times_need_a_zone_and_a_year_of_the_calendar(self, moment: str) -> None:
        assert problem(changed(occurredAt=moment)).startswith("occurredAt: ")


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
    def test_a_card_number_is_rejected_and_not_repeated(self, text: str) -> None:
        reason = problem(changed(paymentMethod=text))
        assert "paymentMethod: must be a reference of the payment provider" in reason
        assert text not in reason

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
    def test_a_reference_is_no_card_number(self, text: str) -> None:
        read = decode(json.dumps(changed(paymentMethod=text)))
        assert isinstance(read, InventoryReservationRequested)
        assert read.payment_method == text
