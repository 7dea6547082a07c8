"""The payments in MongoDB."""

from decimal import Decimal

from payment_service.payment import Payment
from saga.mongodb.aggregates import PlainStore
from saga.mongodb.errors import translate_driver_errors


class PaymentStore(PlainStore[Payment]):
    """One document a payment."""

    async def books(self) -> list[tuple[str, Decimal, Decimal]]:
        """Return currency, sum charged and sum refunded."""
        with translate_driver_errors():
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
