"""Every event of the saga, who publishes it and which services must handle it.

The JSON form is flat and in camelCase. Fields every event carries:

- `type`, `version`: what happened, and the version of its shape;
- `eventId`: unique, and the same whenever the same event is published again;
- `correlationId`: the saga it belongs to: the order id, unless the first publisher set another;
- `causationId`: the event that caused it, missing for the first one;
- `occurredAt`: when, in UTC; `orderId`: the order it is about.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, TypeAdapter

from events.fields import (
    Count,
    Currency,
    HeldLine,
    HoldSeconds,
    Id,
    Items,
    Location,
    Model,
    Money,
    PaymentMethod,
    Price,
    Reason,
    Shortage,
    Timestamp,
)

ORDER = "order_service"
INVENTORY = "inventory_service"
PAYMENT = "payment_service"
SERVICES = (ORDER, INVENTORY, PAYMENT)

DEFAULT_CURRENCY = "USD"

ReservationFailure = Literal["insufficient_stock", "unknown_product", "unknown_warehouse", "released"]
OrderFailure = Literal["failed", "cancelled"]


class Event(Model):
    """Something that happened.

    `eventId`, `correlationId` and `occurredAt` may be missing from a message published by hand and in what
    a reaction returns; `events.identity` fills them in, and nothing is published without them.
    """

    published_by: ClassVar[str]
    handled_by: ClassVar[tuple[str, ...]]

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
    """Nothing was held."""

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
    """The stock is held: charge the customer, who has to have paid by `expiresAt`, when the hold ends."""

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
    """The payment was declined, for good."""

    published_by = PAYMENT
    handled_by = (ORDER,)
    type: Literal["PaymentFailed"] = "PaymentFailed"
    reason: Reason
    payment_id: Id | None = None


class InventoryConfirmationRequested(Event):
    """The order is paid: make its hold an allocation."""

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
    """The hold was gone, and its stock could not be taken again."""

    published_by = INVENTORY
    handled_by = (ORDER,)
    type: Literal["InventoryConfirmationFailed"] = "InventoryConfirmationFailed"
    reason: Reason


class InventoryReleaseRequested(Event):
    """Compensation: give the held stock back."""

    published_by = ORDER
    handled_by = (INVENTORY,)
    type: Literal["InventoryReleaseRequested"] = "InventoryReleaseRequested"
    reason: Reason


class InventoryReleased(Event):
    """The order holds no stock; what it held was given back."""

    published_by = INVENTORY
    handled_by = (ORDER,)
    type: Literal["InventoryReleased"] = "InventoryReleased"
    reservations: tuple[HeldLine, ...] = ()


class InventoryReservationExpired(Event):
    """The hold ran out, and its stock was given back."""

    published_by = INVENTORY
    handled_by = (ORDER,)
    type: Literal["InventoryReservationExpired"] = "InventoryReservationExpired"
    reservations: tuple[HeldLine, ...] = ()


class PaymentRefundRequested(Event):
    """Compensation: give back what was charged, or see that nothing ever is."""

    published_by = ORDER
    handled_by = (PAYMENT,)
    type: Literal["PaymentRefundRequested"] = "PaymentRefundRequested"
    amount: Price
    currency: Currency
    reason: Reason


class PaymentRefunded(Event):
    """The customer has the money: `amount` is 0 when nothing had been charged."""

    published_by = PAYMENT
    handled_by = (ORDER,)
    type: Literal["PaymentRefunded"] = "PaymentRefunded"
    amount: Money
    currency: Currency
    payment_id: Id | None = None
    refund_id: Id | None = None


class PaymentRefundFailed(Event):
    """The provider refuses the refund: a person has to settle it."""

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
    """The saga ended without an order, and everything done for it is undone."""

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

EVENT_TYPES: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        InventoryReservationRequested,
        InventoryReserved,
        InventoryReservationFailed,
        PaymentRequested,
        PaymentCompleted,
        PaymentFailed,
        InventoryConfirmationRequested,
        InventoryConfirmed,
        InventoryConfirmationFailed,
        InventoryReleaseRequested,
        InventoryReleased,
        InventoryReservationExpired,
        PaymentRefundRequested,
        PaymentRefunded,
        PaymentRefundFailed,
        OrderCreated,
        OrderFailed,
    )
}
