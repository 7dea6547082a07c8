"""The store of the order service in MongoDB, and orders to put there."""

from datetime import timedelta
from typing import Any

from order_service.mongo_store import OrderStore
from order_service.order import Order, OrderStatus
from saga.reactions.unit_of_work import LoadedAggregate
from tests.support.clock import START


def order(key: str, status: OrderStatus, number: int = 0, amount: str = "25.00") -> Order:
    """Return an order; those with greater numbers are newer."""
    fields: dict[str, Any] = {
        "orderId": key,
        "correlationId": key,
        "status": status,
        "userId": "u-1",
        "items": [{"productId": "tea", "quantity": 1}],
        "totalAmount": amount,
        "currency": "USD",
        "createdAt": START + timedelta(seconds=number),
        "deadline": START + timedelta(hours=1),
    }
    return Order.model_validate(fields)


async def save(store: OrderStore, *states: Order) -> set[str]:
    """Save these states, each over what is stored of its order; return the stale keys."""
    entries = await store.fetch([state.order_id for state in states])
    for state in states:
        put(entries[state.order_id], state)
    return await store.write(entries.values())


def put(entry: LoadedAggregate[Order], state: Order) -> None:
    """Change an entry as the engine does."""
    entry.state, entry.changed = state, True
    entry.wake_at = None if state.terminal else state.deadline
