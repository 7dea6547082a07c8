"""What the peers store: small documents, changed in place, without a journal."""

from collections.abc import Sequence
from typing import Any

from pymongo import InsertOne, UpdateOne

from benchmarks.workload import STOCKED, Line, Order, Place

Document = dict[str, Any]
Write = InsertOne[Document] | UpdateOne


def level_id(place: Place) -> str:
    """Return the `_id` of a stock level."""
    return "/".join(place)


def new_level(place: Place) -> Document:
    """Return a stock level before the first order."""
    return {"_id": level_id(place), "available": STOCKED, "reserved": 0, "allocated": 0}


def new_order(order: Order) -> Document:
    """Return an order that has just been placed."""
    return {
        "_id": order.order_id,
        "userId": "u-1",
        "items": _items(order),
        "totalAmount": str(order.total),
        "status": "pending",
    }


def new_reservation(order: Order) -> Document:
    """Return the reservation of an order whose stock has been taken."""
    return {"_id": order.order_id, "items": _items(order), "status": "held"}


def new_payment(order: Order) -> Document:
    """Return the payment of an order, as the provider has answered."""
    status = "declined" if order.declined else "charged"
    return {"_id": order.order_id, "amount": str(order.total), "status": status}


def take(line: Line) -> tuple[Document, Document]:
    """Return the filter and the change that reserve the units of a line if they are available."""
    return (
        {"_id": level_id(line.place), "available": {"$gte": line.quantity}},
        {"$inc": {"available": -line.quantity, "reserved": line.quantity}},
    )


def settle(lines: Sequence[Line], to: str) -> list[UpdateOne]:
    """Move reserved units to `allocated`, or back to `available`."""
    return [
        UpdateOne({"_id": level_id(line.place)}, {"$inc": {"reserved": -line.quantity, to: line.quantity}})
        for line in lines
    ]


def status(order_id: str, name: str) -> UpdateOne:
    """Change the status of an order or of a reservation."""
    return UpdateOne({"_id": order_id}, {"$set": {"status": name}})


def _items(order: Order) -> list[Document]:
    return [
        {"productId": line.product, "warehouseId": line.warehouse, "quantity": line.quantity}
        for line in order.lines
    ]
