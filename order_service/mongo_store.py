"""The orders in MongoDB."""

from decimal import Decimal

from order_service.order import Order, OrderStatus
from saga.mongodb.aggregates import PlainStore
from saga.mongodb.errors import translate_driver_errors


class OrderStore(PlainStore[Order]):
    """One document for each order."""

    async def prepare(self) -> None:
        """Create the indexes."""
        await super().prepare()
        with translate_driver_errors():
            await self.collection.create_index([("state.status", 1), ("state.createdAt", -1)])
            await self.collection.create_index([("state.createdAt", -1)])

    async def find(self, status: OrderStatus | None, limit: int) -> list[Order]:
        """Return the newest orders, of one status or of all."""
        return await self.select({"state.status": status} if status else {}, limit, "state.createdAt")

    async def books(self) -> list[tuple[str, Decimal, int]]:
        """Return currency, sum and number of the confirmed orders."""
        with translate_driver_errors():
            rows = self.collection.aggregate(
                [
                    {"$match": {"state.status": "confirmed"}},
                    {
                        "$group": {
                            "_id": "$state.currency",
                            "sum": {"$sum": "$state.totalAmount"},
                            "count": {"$sum": 1},
                        }
                    },
                ]
            )
            return sorted([(row["_id"], row["sum"], row["count"]) async for row in rows])
