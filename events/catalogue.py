"""Every event of the saga, who publishes it and which services must handle it.

The JSON form is flat and in camelCase. Fields every event carries:

- `type`, `version`: what happened, and the version of its shape;
- `eventId`: unique, and the same whenever the same event is published again;
- `correlationId`: the saga it belongs to: the order id, unless the first publisher set another;
- `causationId`: the event that caused it; the first event of a saga has none;
- `occurredAt`: when it happened, in UTC; `orderId`: the order that it concerns.
"""

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, TypeAdapter

from events.types import Count, Currency, HoldSeconds, Id, Money, PaymentMethod, Price, Reason, Timestamp
from events.values import HeldLine, Items, Location, Model, Shortage

ORDER = "order_service"
INVENTORY = "inventory_service"
PAYMENT = "payment_service"
SERVICES = (ORDER, INVENTORY, PAYMENT)


def short_name(service: str) -> str:
    """Return `order` for `order_service`."""
    return service.removesuffix("_service")


DEFAULT_CURRENCY = "USD"

ReservationFailure = Literal["insufficient_stock", "unknown_product", "unknown_warehouse", "released"]
OrderFailure = Literal["failed", "cancelled"]


class Event(Model):
    """Something that happened.

    A message published manually and the events that a reaction returns may lack `eventId`, `correlationId`
    and `occurredAt`; `events.identity` fills them in, and no event is published without them.
    """

    published_by: ClassVar[str]
    handled_by: ClassVar[tuple[str, ...]]
    starts_saga: ClassVar[bool] = False

    type: str
    version: Literal[1] = 1
    event_id: Id | None = None
    correlation_id: Id | None = None
    causation_id: Id | None = None
    occurred_at: Timestamp | None = None
    order_id: Id


class InventoryReservationRequested(Event):
    """An order was placed: hold its stock. The one event that starts a saga."""

    published_by = ORDER
    handled_by = (INVENTORY, ORDER)
    starts_saga = True
    type: Literal["InventoryReservationRequested"] = "InventoryReservationRequested"
    user_id: Id
    items: Items
    total_amount: Price
    currency: Currency = DEFAULT_CURRENCY
    user_location: Location | None = None
    expires_in: HoldSeconds | None = None
    payment_method: PaymentMethod | None = None


class InventoryReserved(Event):
    """Every line of the order is held until `expiresAt`."""

    published_by = INVENTORY
    handled_by = (ORDER,)
    type: Literal["InventoryReserved"] = "InventoryReserved"
    user_id: Id
    items: Items
    total_amount: Price
    currency: Currency
    payment_method: PaymentMethod | None = None
    reservations: tuple[HeldLine, ...]
    expires_at: Timestamp


class InventoryReservationFailed(Event):
    """No stock was held."""

    published_by = INVENTORY
    handled_by = (ORDER,)
    type: Literal["InventoryReservationFailed"] = "InventoryReservationFailed"
    user_id: Id
    items: Items
    total_amount: Price
    currency: Currency
    reason: ReservationFailure
    shortages: tuple[Shortage, ...] = ()


class PaymentRequested(Event):
    """The stock is held until `expiresAt`: charge the customer, who has to pay before that."""

    published_by = ORDER
    handled_by = (PAYMENT,)
    type: Literal["PaymentRequested"] = "PaymentRequested"
    user_id: Id
    amount: Price
    currency: Currency = DEFAULT_CURRENCY
    idempotency_key: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,80}$")]
    payment_method: PaymentMethod | None = None
    expires_at: Timestamp | None = None


class PaymentCompleted(Event):
    """The customer was charged."""

    published_by = PAYMENT
    handled_by = (ORDER,)
    type: Literal["PaymentCompleted"] = "PaymentCompleted"
    payment_id: Id
    amount: Price
    currency: Currency


class PaymentFailed(Event):
    """The payment was declined; that is final."""

    published_by = PAYMENT
    handled_by = (ORDER,)
    type: Literal["PaymentFailed"] = "PaymentFailed"
    reason: Reason
    payment_id: Id | None = None


class InventoryConfirmationRequested(Event):
    """The order is paid: turn its hold into an allocation."""

    published_by = ORDER
    handled_by = (INVENTORY,)
    type: Literal["InventoryConfirmationRequested"] = "InventoryConfirmationRequested"


class InventoryConfirmed(Event):
    """The held stock is allocated to the order."""

    published_by = INVENTORY
    handled_by = (ORDER,)
    type: Literal["InventoryConfirmed"] = "InventoryConfirmed"
    reservations: tuple[HeldLine, ...] = ()


class InventoryConfirmationFailed(Event):
    """The hold had ended, and its stock could not be held again."""

    published_by = INVENTORY
    handled_by = (ORDER,)
    type: Literal["InventoryConfirmationFailed"] = "InventoryConfirmationFailed"
    reason: Reason


class InventoryReleaseRequested(Event):
    """Compensation: release the held stock."""

    published_by = ORDER
    handled_by = (INVENTORY,)
    type: Literal["InventoryReleaseRequested"] = "InventoryReleaseRequested"
    reason: Reason


class InventoryReleased(Event):
    """The order holds no stock any more; what it held is available again."""

    published_by = INVENTORY
    handled_by = (ORDER,)
    type: Literal["InventoryReleased"] = "InventoryReleased"
    reservations: tuple[HeldLine, ...] = ()


class InventoryReservationExpired(Event):
    """The hold expired, and its stock is available again."""

    published_by = INVENTORY
    handled_by = (ORDER,)
    type: Literal["InventoryReservationExpired"] = "InventoryReservationExpired"
    reservations: tuple[HeldLine, ...] = ()


class PaymentRefundRequested(Event):
    """Compensation: refund the charge, or make sure that none is ever made."""

    published_by = ORDER
    handled_by = (PAYMENT,)
    type: Literal["PaymentRefundRequested"] = "PaymentRefundRequested"
    amount: Price
    currency: Currency
    reason: Reason


class PaymentRefunded(Event):
    """The customer has been refunded: `amount` is 0 when no charge had been made."""

    published_by = PAYMENT
    handled_by = (ORDER,)
    type: Literal["PaymentRefunded"] = "PaymentRefunded"
    amount: Money
    currency: Currency
    payment_id: Id | None = None
    refund_id: Id | None = None


class PaymentRefundFailed(Event):
    """The provider refuses the refund: an operator has to settle it."""

    published_by = PAYMENT
    handled_by = (ORDER,)
    type: Literal["PaymentRefundFailed"] = "PaymentRefundFailed"
    reason: Reason
    attempts: Count
    payment_id: Id


class OrderCreated(Event):
    """The saga succeeded: the order is paid for and its stock is allocated."""

    published_by = ORDER
    handled_by = ()
    type: Literal["OrderCreated"] = "OrderCreated"
    user_id: Id
    items: Items
    total_amount: Price
    currency: Currency
    payment_id: Id


class OrderFailed(Event):
    """The saga ended without an order, and all its steps are compensated."""

    published_by = ORDER
    handled_by = ()
    type: Literal["OrderFailed"] = "OrderFailed"
    user_id: Id | None = None
    reason: Reason
    status: OrderFailure


AnyEvent = Annotated[
    InventoryReservationRequested
    | InventoryReserved
    | InventoryReservationFailed
    | PaymentRequested
    | PaymentCompleted
    | PaymentFailed
    | InventoryConfirmationRequested
    | InventoryConfirmed
    | InventoryConfirmationFailed
    | InventoryReleaseRequested
    | InventoryReleased
    | InventoryReservationExpired
    | PaymentRefundRequested
    | PaymentRefunded
    | PaymentRefundFailed
    | OrderCreated
    | OrderFailed,
    Field(discriminator="type"),
]
ANY_EVENT: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)

EVENT_TYPES: dict[str, type[Event]] = {kind.__name__: kind for kind in get_args(get_args(AnyEvent)[0])}
