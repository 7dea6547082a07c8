"""What the tests of the commands share: running one, and the answers of services that are not there."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
from typer.testing import CliRunner

from events.catalogue import Event
from events.codec import from_json
from operations.client import Json
from operations.event_tap import Seen

UNREACHABLE = "http://127.0.0.1:1"
START = datetime(2026, 1, 1, tzinfo=UTC)
ORDER: Json = {
    "orderId": "o-1",
    "correlationId": "o-1",
    "status": "confirmed",
    "reason": None,
    "awaiting": [],
    "userId": "u-1",
    "items": [{"productId": "tea", "quantity": 2, "warehouseId": None}],
    "totalAmount": "25.00",
    "currency": "USD",
    "paymentId": "p-1",
    "createdAt": "2026-01-01T00:00:00.000Z",
}
REQUEST: Json = {
    "orderId": "o-1",
    "userId": "u-1",
    "items": [{"productId": "tea", "quantity": 2}],
    "totalAmount": "25.00",
}

Handler = Callable[[httpx.Request], httpx.Response]
Answer = Callable[[Handler], None]
runner = CliRunner()


def event(kind: str, number: int, cause: int | None = None, milliseconds: int = 0, **fields: object) -> Event:
    """Return event `number` of order o-1."""
    return from_json(
        {
            "type": kind,
            "eventId": f"e-{number}",
            "correlationId": "o-1",
            "causationId": None if cause is None else f"e-{cause}",
            "occurredAt": START + timedelta(milliseconds=milliseconds),
            "orderId": "o-1",
            **fields,
        }
    )


def seen(*events: Event) -> list[Seen]:
    """Return the events as a tap has seen them."""
    return [Seen(one, START) for one in events]


def requested(number: int = 1, milliseconds: int = 0) -> Event:
    """Return the event that starts a saga."""
    return event("InventoryReservationRequested", number, None, milliseconds, **REQUEST)


def one_line(text: str) -> str:
    """Return the only line of a text, and fail if there are more."""
    assert len(text.splitlines()) == 1, text
    return text
