"""A document is read as its service reads it, or is reported."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from order_service.order import Order
from tests.support.builders import NOW
from tests.support.cases import CONFIRMED, CREATED, LONG_AGO, Document
from verification.audit.documents import Unreadable, snapshot


def document() -> Document:
    """Return the order of CONFIRMED as it is stored."""
    assert CONFIRMED.order is not None
    return {
        "_id": "o-1",
        "version": 3,
        "updatedAt": NOW,
        "state": CONFIRMED.order.state.model_dump(by_alias=True),
        "journal": [
            {
                "id": "e-1",
                "name": "InventoryConfirmed",
                "at": LONG_AGO,
                "status": "confirmed",
                "emitted": [json.dumps(CREATED)],
                "unpublished": [CREATED["eventId"]],
            }
        ],
    }


def test_a_document_is_read_with_its_journal() -> None:
    read = snapshot(document(), Order)
    assert CONFIRMED.order is not None
    assert read.state == CONFIRMED.order.state
    assert read.emitted == [CREATED]
    assert read.unpublished_since == NOW


def test_published_events_wait_since_no_time() -> None:
    published = document()
    del published["journal"][0]["unpublished"]
    assert snapshot(published, Order).unpublished_since is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda one: one.pop("state"),
        lambda one: one.pop("journal"),
        lambda one: one.pop("updatedAt"),
        lambda one: one["state"].update(status="lost"),
        lambda one: one["state"].update(totalAmount=25.0),
        lambda one: one["state"].update(orderId="o-2"),
        lambda one: one["journal"][0].update(emitted=['{"type": "OrderCreated"}']),
        lambda one: one["journal"][0].update(emitted=["{"]),
        lambda one: one["journal"][0].update(emitted=[{"type": "OrderCreated"}]),
        lambda one: one.update(journal={"e-1": {}}),
        lambda one: one.update(journal=None),
    ],
)
def test_a_damaged_document_is_unreadable(damage: Callable[[Document], Any]) -> None:
    damaged = document()
    damage(damaged)
    with pytest.raises(Unreadable, match="order: "):
        snapshot(damaged, Order)
