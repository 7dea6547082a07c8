"""A document is read as its service reads it, or is reported."""

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
        "journal": {"e-1": {"name": "InventoryConfirmed", "at": NOW, "emitted": [CREATED]}},
        "outbox": [{"id": "e-2", "at": NOW}, {"id": "e-3", "at": LONG_AGO}],
    }


def test_a_document_is_read_with_journal_and_outbox() -> None:
    read = snapshot(document(), Order)
    assert CONFIRMED.order is not None
    assert read.state == CONFIRMED.order.state
    assert read.emitted == [CREATED]
    assert read.unpublished_since == LONG_AGO


@pytest.mark.parametrize(
    "damage",
    [
        lambda one: one.pop("state"),
        lambda one: one.pop("journal"),
        lambda one: one.pop("outbox"),
        lambda one: one.pop("updatedAt"),
        lambda one: one["state"].update(status="lost"),
        lambda one: one["state"].update(totalAmount=25.0),
        lambda one: one["state"].update(orderId="o-2"),
        lambda one: one["journal"]["e-1"].update(emitted=[{"type": "OrderCreated"}]),
        lambda one: one.update(journal=[]),
        lambda one: one.update(journal=None),
        lambda one: one.update(outbox=[{"id": "e-2", "at": NOW}, {"id": "e-3", "at": "yesterday"}]),
    ],
)
def test_a_damaged_document_is_unreadable(damage: Callable[[Document], Any]) -> None:
    damaged = document()
    damage(damaged)
    with pytest.raises(Unreadable, match="order: "):
        snapshot(damaged, Order)
