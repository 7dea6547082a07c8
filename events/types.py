"""The scalar types of the fields of events and HTTP bodies: ids, amounts, times, quantities."""

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
MAX_QUANTITY = 1_000_000
MAX_HOLD_SECONDS = 30 * 24 * 3600
MAX_AMOUNT = Decimal(10) ** 12
MAX_DECIMAL_PLACES = 4


_CARD_NUMBER = re.compile(r"(?<![A-Za-z0-9-])\d(?:-?\d){12,18}(?![A-Za-z0-9-])", re.ASCII)
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


def _read_money(value: object) -> Decimal:
    """Read an amount from a string or an exact number; refuse a binary float, which is not exact."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError('must be an amount such as "25.00"')
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise ValueError('must be an amount such as "25.00"')
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise ValueError('must be an amount such as "25.00"') from None
    # `copy_abs`, since arithmetic, `abs` included, fails on exponents such as a billion.
    if not amount.is_finite() or amount.copy_abs() >= MAX_AMOUNT:
        raise ValueError(f"must be less than {MAX_AMOUNT:f}")
    if int(amount.as_tuple().exponent) < -MAX_DECIMAL_PLACES:
        rounded = round(amount, MAX_DECIMAL_PLACES)
        if amount != rounded:
            raise ValueError(f"must have at most {MAX_DECIMAL_PLACES} decimal places")
        amount = rounded
    return amount or Decimal(0)


def _not_negative(amount: Decimal) -> Decimal:
    if amount < 0:
        raise ValueError("must not be negative")
    return amount


def _positive(amount: Decimal) -> Decimal:
    if amount <= 0:
        raise ValueError("must be more than 0")
    return amount


def format_money(amount: Decimal) -> str:
    """Write an amount without an exponent, with at least two decimal places: `25.00`, `0.125`."""
    plain = f"{amount:f}"
    whole, _, cents = plain.partition(".")
    return f"{whole}.{cents.rstrip('0').ljust(2, '0')}"


def format_time(moment: datetime) -> str:
    """Write a moment as RFC 3339 in UTC, to the millisecond."""
    return _in_utc(moment).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is UTC:
        return moment
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a moment between the years 1 and 9999 in UTC") from None


def _no_card_number(text: str) -> str:
    """Refuse what could be the number of a payment card: it would be stored and published.

    That is 13 to 19 digits, with no letter, digit or hyphen next to them, whose check digit is right.
    """
    for found in _CARD_NUMBER.finditer(text):
        digits = [int(digit) for digit in reversed(found[0]) if digit != "-"]
        doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
        if (sum(digits[::2]) + sum(doubled)) % 10 == 0:
            raise ValueError("must be a reference of the payment provider, never a card number")
    return text


Id = Annotated[str, Field(pattern=ID_PATTERN)]
"""An identifier: up to 64 letters, digits, `_` and `-`, so that it is safe in a routing key and a URL."""

_TEXT = r"\d{1,12}(\.\d{1,4})?"
_NUMERIC = {"type": "number", "exclusiveMaximum": int(MAX_AMOUNT), "multipleOf": 10**-MAX_DECIMAL_PLACES}
_MONEY = (
    BeforeValidator(_read_money),
    PlainSerializer(format_money, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["25.00"]}, mode="serialization"),
)
Money = Annotated[
    Decimal,
    AfterValidator(_not_negative),
    *_MONEY,
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": f"^{_TEXT}$"}, {**_NUMERIC, "minimum": 0}],
            "examples": ["25.00"],
        },
        mode="validation",
    ),
]
"""An exact amount of zero or more; its currency is a field of its own."""
Price = Annotated[
    Decimal,
    AfterValidator(_positive),
    *_MONEY,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^(?=.*[1-9]){_TEXT}$"},
                {**_NUMERIC, "exclusiveMinimum": 0},
            ],
            "examples": ["25.00"],
        },
        mode="validation",
    ),
]
"""An exact amount of more than zero."""

Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
"""An ISO 4217 code."""
Quantity = Annotated[int, Field(strict=True, ge=1, le=MAX_QUANTITY)]
"""Units of a product."""
Count = Annotated[int, Field(strict=True, ge=0)]
"""Units of a product, or attempts; may be zero."""
HoldSeconds = Annotated[int, Field(strict=True, ge=1, le=MAX_HOLD_SECONDS)]
"""How long a hold lasts, in seconds."""
Reason = Annotated[str, Field(min_length=1, max_length=500)]
"""A machine-readable word or a short sentence."""
PaymentMethod = Annotated[str, Field(pattern=r"^[A-Za-z0-9_:.=-]{1,128}$"), AfterValidator(_no_card_number)]
"""A reference of the payment provider (a token or channel); never card data."""
Timestamp = Annotated[
    AwareDatetime,
    AfterValidator(_in_utc),
    PlainSerializer(format_time, when_used="json"),
]
"""A moment in UTC."""
