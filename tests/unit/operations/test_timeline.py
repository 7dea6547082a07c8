"""The events of one saga as a timeline."""

from datetime import timedelta

from operations.timeline import detail, lines, timeline
from tests.support.command_line import REQUEST, START, event, requested, seen


def test_steps_follow_time() -> None:
    released = event("InventoryReleased", 3, 2, 40)
    failed = event("OrderFailed", 4, 3, 55, reason="declined", status="failed")
    steps = timeline(seen(failed, released, requested()))
    assert [(step.event.type, step.milliseconds) for step in steps] == [
        ("InventoryReservationRequested", 0),
        ("InventoryReleased", 40),
        ("OrderFailed", 55),
    ]


def test_no_event_comes_before_its_cause() -> None:
    first = requested(1, milliseconds=10)
    second = event("InventoryReleaseRequested", 2, 1, 4, reason="late")
    third = event("InventoryReleased", 3, 2, 10)
    steps = timeline(seen(third, second, first))
    assert [step.event.event_id for step in steps] == ["e-1", "e-2", "e-3"]
    assert [step.milliseconds for step in steps] == [0, 0, 0]


def test_a_repeated_event_is_shown_once() -> None:
    assert len(timeline(seen(requested(), requested()))) == 1


def test_circular_causes_end() -> None:
    one, two = event("InventoryReleased", 1, 2), event("InventoryReleased", 2, 1)
    assert len(timeline(seen(one, two))) == 2


def test_no_events_make_an_empty_timeline() -> None:
    assert timeline([]) == []


def test_times_can_count_from_a_given_start() -> None:
    steps = timeline(seen(event("InventoryReleased", 1, None, 30)), START - timedelta(milliseconds=12))
    assert steps[0].milliseconds == 42


def test_line_has_time_service_event_and_content() -> None:
    held = [{"reservationId": "o-1", "productId": "tea", "warehouseId": "berlin", "quantity": 2}]
    steps = timeline(seen(requested(), event("InventoryConfirmed", 2, 1, 17, reservations=held)))
    assert [line.split() for line in lines(steps)] == [
        ["0", "ms", "order_service", "InventoryReservationRequested", "2", "x", "tea;", "25.00", "USD"],
        ["17", "ms", "inventory_service", "InventoryConfirmed", "2", "x", "tea", "at", "berlin"],
    ]


def test_detail_has_reason_amount_and_shortage() -> None:
    short = {"productId": "tea", "requested": 2, "available": 1}
    fields = {**REQUEST, "currency": "USD", "reason": "insufficient_stock", "shortages": [short]}
    text = detail(event("InventoryReservationFailed", 2, 1, **fields))
    assert text == "2 x tea; 25.00 USD; insufficient_stock; 1 of 2 tea available"
    refunded = event("PaymentRefunded", 3, 1, amount="0", currency="USD")
    assert detail(refunded) == "0.00 USD"
