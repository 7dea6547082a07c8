"""The orders in MongoDB."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

from order_service.order import TERMINAL, Order, OrderStatus
from saga.mongodb.aggregates import EPOCH, PlainStore
from saga.mongodb.client import Document, DocumentCollection
from saga.mongodb.errors import translate_driver_errors
from saga.mongodb.ledger import Ledger


class OrderStore(PlainStore[Order]):
    """One document for each order."""

    def __init__(
        self,
        collection: DocumentCollection,
        clock: Callable[[], datetime],
        archive_after: timedelta | None = None,
    ) -> None:
        self._ledger = Ledger(collection)
        super().__init__(collection, Order, clock, archive_after, self._ledger)

    async def find(self, status: OrderStatus | None, limit: int) -> list[Order]:
        """Return the newest orders, of one status or of all.

        The ledger lists what has ended, and the index of the timers all else.
        """
        newest: list[tuple[datetime, str]] = []
        if status not in TERMINAL:
            under_way: Document = {"wakeAt": {"$gt": EPOCH}}
            if status:
                under_way["state.status"] = status
            cursor = self.collection.find(under_way, {"state.createdAt": 1}).sort("state.createdAt", -1)
            with translate_driver_errors():
                newest += [(one["state"]["createdAt"], one["_id"]) async for one in cursor.limit(limit)]
        if status is None or status in TERMINAL:
            newest += await self._ledger.newest([status] if status else TERMINAL, limit)
        keys = dict.fromkeys(key for _, key in sorted(newest, reverse=True))
        found = [entry.state for entry in await self.readable(list(keys)[:limit]) if entry.state]
        found.sort(key=lambda order: order.created_at, reverse=True)
        return [order for order in found if status in (None, order.status)]

    async def books(self) -> list[tuple[str, Decimal, int]]:
        """Return currency, sum and number of the confirmed orders."""
        totals = await self._ledger.totals()
        currencies = sorted({name.split()[0] for name in totals})
        return [
            (currency, totals[f"{currency} confirmed"], int(totals[f"{currency} orders"]))
            for currency in currencies
        ]
