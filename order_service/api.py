"""The HTTP API of the order service."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, FastAPI, Query, Response

from events.catalogue import DEFAULT_CURRENCY, InventoryReservationRequested
from events.encoded import EncodedEvent
from events.identity import new_id
from events.types import Currency, HoldSeconds, Id, Money, PaymentMethod, Price, Timestamp
from events.values import Items, Location, Model
from order_service.application import OrderApplication
from order_service.order import Order, OrderStatus
from order_service.ports import OrderQueries
from saga.errors import Refused
from saga.http.app import create_app
from saga.http.back_pressure import BackPressure
from saga.http.problems import Problem
from saga.http.rate_limit import RateLimit
from saga.http.requests import IdempotencyKeyHeader, PathId, RequestBody
from saga.http.security import needs
from saga.timers.nudge import Nudge

MAX_WAIT = 60.0


class PlaceOrder(RequestBody):
    """An order to place."""

    user_id: Id
    items: Items
    total_amount: Price
    currency: Currency = DEFAULT_CURRENCY
    user_location: Location | None = None
    expires_in: HoldSeconds | None = None
    payment_method: PaymentMethod | None = None


class OrderView(Model):
    """An order as its customer sees it."""

    order_id: Id
    correlation_id: Id
    status: OrderStatus
    reason: str | None
    refund_failure: str | None
    awaiting: list[str]
    user_id: Id
    items: Items
    total_amount: Money
    currency: Currency
    payment_id: Id | None
    created_at: Timestamp
    deadline: Timestamp


class OrderList(Model):
    """Orders, the newest first."""

    orders: list[OrderView]


class RepublishedRequest(Model):
    """A request that was published again."""

    order_id: Id
    type: str


class NudgeResult(Model):
    """Every request that was published again."""

    published: list[RepublishedRequest]


class ConfirmedTotal(Model):
    """The confirmed orders in one currency."""

    currency: Currency
    confirmed: Money
    orders: int


class OrderBooks(Model):
    """The confirmed orders, by currency."""

    books: list[ConfirmedTotal]


def view(order: Order) -> OrderView:
    """Return what customers see of an order."""
    return OrderView.model_validate(order, from_attributes=True)


def order_api(
    application: OrderApplication,
    orders: OrderQueries,
    nudge: Nudge,
    rate_limit: RateLimit,
    back_pressure: BackPressure,
) -> FastAPI:
    """Return the HTTP API of this application; `rate_limit` and `back_pressure` are for placing orders."""
    app = create_app("Order service", "Places orders and reports how they end.")

    @app.post(
        "/orders",
        openapi_extra=needs("orders"),
        dependencies=[Depends(rate_limit), Depends(back_pressure)],
        status_code=202,
        summary="Place an order",
    )
    async def place(
        body: PlaceOrder,
        response: Response,
        idempotency_key: IdempotencyKeyHeader = None,
    ) -> OrderView:
        request = InventoryReservationRequested(order_id=new_id("order", idempotency_key), **dict(body))
        order = await application.place(request)
        if not _matches(order, body):
            raise Problem(409, "this Idempotency-Key was used for another order")
        response.headers["Location"] = f"/orders/{order.order_id}"
        return view(order)

    @app.get("/orders", openapi_extra=needs("orders"), summary="List the newest orders")
    async def find(
        status: OrderStatus | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> OrderList:
        return OrderList(orders=[view(order) for order in await orders.find(status, limit)])

    @app.get(
        "/orders/{order_id}",
        openapi_extra=needs("orders"),
        summary="Get one order; with wait, as soon as it has ended",
    )
    async def show(order_id: PathId, wait: Annotated[float, Query(ge=0, le=MAX_WAIT)] = 0) -> OrderView:
        return view(_found(order_id, await application.ended(order_id, wait)))

    @app.post(
        "/orders/{order_id}/cancel",
        openapi_extra=needs("orders"),
        status_code=202,
        summary="Cancel an order that is not paid",
    )
    async def cancel(order_id: PathId) -> OrderView:
        order = _found(order_id, await application.store.get(order_id))
        try:
            return view(await application.cancel(order))
        except Refused as error:
            raise Problem(409, str(error)) from None

    @app.post(
        "/orders/{order_id}/nudge",
        openapi_extra=needs("operate"),
        status_code=202,
        summary="Publish the unanswered requests of an order again",
    )
    async def nudge_one(order_id: PathId) -> NudgeResult:
        entry = (await orders.fetch([order_id]))[order_id]
        _found(order_id, entry.state)
        return _nudged(await nudge.nudge([entry]))

    @app.post(
        "/nudge",
        openapi_extra=needs("operate"),
        status_code=202,
        summary="Publish the unanswered requests of all orders again",
    )
    async def nudge_all() -> NudgeResult:
        return _nudged(await nudge.nudge_all())

    @app.get(
        "/books",
        openapi_extra=needs("operate"),
        summary="Get the sum and number of the confirmed orders, by currency",
    )
    async def books() -> OrderBooks:
        rows = await orders.books()
        return OrderBooks(
            books=[
                ConfirmedTotal(currency=currency, confirmed=total, orders=count)
                for currency, total, count in rows
            ]
        )

    return app


def _found(order_id: str, order: Order | None) -> Order:
    if order is None:
        raise Problem(404, f"there is no order {order_id}")
    return order


def _nudged(events: Sequence[EncodedEvent]) -> NudgeResult:
    return NudgeResult(
        published=[RepublishedRequest(order_id=event.order_id, type=event.type) for event in events]
    )


def _matches(order: Order, body: PlaceOrder) -> bool:
    return order.matches(body.items, body.total_amount, body.currency, body.user_id) and (
        order.user_location,
        order.expires_in,
        order.payment_method,
    ) == (body.user_location, body.expires_in, body.payment_method)
