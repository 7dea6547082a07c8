"""What the tests of the payment service have in common."""

from decimal import Decimal
from uuid import uuid4

DECLINE_ABOVE = "1000"
NOTHING = Decimal(0)


def body(**fields: object) -> dict[str, object]:
    order_id = uuid4().hex
    return {
        "orderId": order_id,
        "userId": "u-1",
        "amount": "25.00",
        "idempotencyKey": f"key-{order_id}",
        **fields,
    }
