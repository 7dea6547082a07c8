"""The payments in MongoDB."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

from payment_service.payment import Payment
from saga.mongodb.aggregates import PlainStore
from saga.mongodb.client import DocumentCollection
from saga.mongodb.ledger import Ledger


class PaymentStore(PlainStore[Payment]):
    """One document a payment."""

    def __init__(
        self,
        collection: DocumentCollection,
        clock: Callable[[], datetime],
        archive_after: timedelta | None = None,
    ) -> None:
        self._ledger = Ledger(collection)
        super().__init__(collection, Payment, clock, archive_after, self._ledger)

    async def books(self) -> list[tuple[str, Decimal, Decimal]]:
        """Return currency, sum charged and sum refunded."""
        totals = await self._ledger.totals()
        currencies = sorted({name.split()[0] for name in totals})
        return [
            (currency, totals[f"{currency} charged"], totals[f"{currency} refunded"])
            for currency in currencies
        ]
