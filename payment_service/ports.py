"""What the payment service needs of a store beyond what every application does."""

from decimal import Decimal
from typing import Protocol


class PaymentQueries(Protocol):
    """What the HTTP API asks about the payments."""

    async def books(self) -> list[tuple[str, Decimal, Decimal]]:
        """Return currency, sum charged and sum refunded."""
