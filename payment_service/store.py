"""The payments in MongoDB."""

from datetime import datetime
from decimal import Decimal

from payment_service.payment import Payment
from reactor.mongo import PlainStore, available


class PaymentStore(PlainStore[Payment]):
    """One document a payment."""

    async def prepare(self) -> None:
        """Create the indexes."""
        await super().prepare()
        with available():
            await self.collection.create_index([("state.status", 1), ("state.tryAt", 1)])

    async def left_over(self, now: datetime, limit: int) -> list[Payment]:
        """Return the intents that nobody has carried out in time."""
        chosen = {"state.status": {"$in": ["charging", "refunding"]}, "state.tryAt": {"$lte": now}}
        return await self.select(chosen, limit)

    async def books(self) -> list[tuple[str, Decimal, Decimal]]:
        """Return currency, sum charged and sum refunded."""
        with available():
            rows = self.collection.aggregate(
                [
                    {"$match": {"state.chargeId": {"$ne": None}}},
                    {
                        "$group": {
                            "_id": "$state.currency",
                            "charged": {"$sum": "$state.amount"},
                            "refunded": {"$sum": "$state.refundedAmount"},
                        }
                    },
                ]
            )
            return sorted([(row["_id"], row["charged"], row["refunded"]) async for row in rows])
