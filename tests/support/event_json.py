"""Events as JSON, with fields changed, and what the decoder makes of them."""

import json
from decimal import Decimal
from typing import Any

import pytest

from events.catalogue import InventoryReservationRequested
from events.codec import InvalidEvent, decode

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
    """Return the amount that is read from this JSON."""
    read = decode(json.dumps(changed(totalAmount="@")).replace('"@"', spelling))
    assert isinstance(read, InventoryReservationRequested)
    return read.total_amount


def problem(fields: dict[str, Any]) -> str:
    """Return why an event is rejected."""
    with pytest.raises(InvalidEvent) as refusal:
        decode(json.dumps(fields))
    return str(refusal.value)
