"""The HTTP API of the inventory service."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import FastAPI, Header, Query, Response
from pydantic import Field

from events.catalogue import DEFAULT_CURRENCY
from events.identity import new_id
from events.types import ID_PATTERN, Count, Currency, HoldSeconds, Id, Money, PaymentMethod, Price, Timestamp
from events.values import HeldLine, Item, Items, Location, Model
from inventory_service.application import InventoryApplication
from inventory_service.ports import StockStore
from inventory_service.reactions import InsufficientStock
from inventory_service.reservation import Hold, Reservation, ReservationStatus
from inventory_service.stock import Level, Warehouse
from saga.errors import OutOfOrder, Refused
from saga.http.app import create_app
from saga.http.problems import FieldProblem, Problem
from saga.http.requests import IdempotencyKeyHeader, PathId, RequestBody
from saga.http.security import needs

MAX_UNITS = 10**12


class MakeReservation(RequestBody):
    """Stock to hold. With `totalAmount`, the hold starts a saga that requests the payment."""

    order_id: Id | None = None
    user_id: Id
    items: Items
    total_amount: Price | None = None
    currency: Currency = DEFAULT_CURRENCY
    user_location: Location | None = None
    expires_in: HoldSeconds | None = None
    payment_method: PaymentMethod | None = None


class SetLevel(RequestBody):
    """The units that are available from now on, in addition to those reserved and allocated."""

    available: Annotated[Count, Field(le=MAX_UNITS)]


class ReservationView(Model):
    """A reservation; its id is the order's."""

    reservation_id: Id
    order_id: Id
    status: ReservationStatus
    saga: bool
    user_id: Id | None
    items: tuple[Item, ...]
    total_amount: Money | None
    currency: Currency | None
    lines: tuple[HeldLine, ...]
    expires_at: Timestamp | None


class Levels(Model):
    """Stock levels."""

    stock: list[Level]


class Warehouses(RequestBody):
    """Warehouses."""

    warehouses: Annotated[list[Warehouse], Field(max_length=1000)]


def view(reservation: Reservation) -> ReservationView:
    """Return what callers see of a reservation."""
    return ReservationView.model_validate(reservation, from_attributes=True)


def inventory_api(application: InventoryApplication, stock_store: StockStore) -> FastAPI:
    """Return the HTTP API of this application."""
    app = create_app("Inventory service", "Keeps the stock of several warehouses, and holds it for orders.")

    @app.post("/reservations", openapi_extra=needs("stock"), status_code=201, summary="Hold stock")
    async def reserve(
        body: MakeReservation,
        response: Response,
        idempotency_key: IdempotencyKeyHeader = None,
    ) -> ReservationView:
        hold = _hold(body, idempotency_key)
        try:
            reservation = await application.hold(hold)
        except InsufficientStock as error:
            raise _shortages(error) from None
        if reservation.status == "rejected":
            raise Problem(409, f"an earlier reservation for the order {hold.order_id} was rejected")
        if not _matches(reservation, hold):
            raise Problem(409, f"there is another reservation for the order {hold.order_id}")
        response.headers["Location"] = f"/reservations/{reservation.order_id}"
        return view(reservation)

    @app.get("/reservations/{reservation_id}", openapi_extra=needs("stock"), summary="Get one reservation")
    async def show(reservation_id: PathId) -> ReservationView:
        reservation = await application.store.get(reservation_id)
        if reservation is None:
            raise _unknown(reservation_id)
        return view(reservation)

    @app.post(
        "/reservations/{reservation_id}/confirm",
        openapi_extra=needs("stock"),
        summary="Allocate a hold that belongs to no saga",
    )
    async def confirm(reservation_id: PathId) -> ReservationView:
        return await _changed(reservation_id, application.confirm)

    @app.post(
        "/reservations/{reservation_id}/release",
        openapi_extra=needs("stock"),
        summary="Release a hold that belongs to no saga",
    )
    async def release(reservation_id: PathId) -> ReservationView:
        return await _changed(reservation_id, application.release)

    @app.get("/stock", openapi_extra=needs("stock"), summary="List stock levels")
    async def stock(
        product_id: Annotated[str | None, Query(alias="productId", pattern=ID_PATTERN)] = None,
        warehouse_id: Annotated[str | None, Query(alias="warehouseId", pattern=ID_PATTERN)] = None,
    ) -> Levels:
        products = None if product_id is None else [product_id]
        return Levels(stock=await stock_store.levels(products, warehouse_id))

    @app.put(
        "/stock/{warehouse_id}/{product_id}",
        openapi_extra=needs("stock"),
        summary="Set the available units of a product at a warehouse",
    )
    async def set_stock(
        warehouse_id: PathId,
        product_id: PathId,
        body: SetLevel,
        response: Response,
        if_match: Annotated[str | None, Header(pattern=r'^"?\d{1,18}"?$')] = None,
    ) -> Level:
        if warehouse_id not in {warehouse.warehouse_id for warehouse in await stock_store.warehouses()}:
            raise Problem(404, f"there is no warehouse {warehouse_id}")
        version = int(if_match.strip('"')) if if_match else None
        level = await stock_store.set_level(warehouse_id, product_id, body.available, version)
        if level is None:
            raise Problem(412, "the level has changed; read it again")
        response.headers["ETag"] = f'"{level.version}"'
        return level

    @app.get("/warehouses", openapi_extra=needs("stock"), summary="List the warehouses")
    async def warehouses() -> Warehouses:
        return Warehouses(warehouses=await stock_store.warehouses())

    @app.put("/warehouses", openapi_extra=needs("stock"), summary="Add or change warehouses")
    async def set_warehouses(body: Warehouses) -> Warehouses:
        await stock_store.set_warehouses(body.warehouses)
        return Warehouses(warehouses=await stock_store.warehouses())

    return app


async def _changed(reservation_id: str, change: Callable[[str], Awaitable[Reservation]]) -> ReservationView:
    try:
        return view(await change(reservation_id))
    except OutOfOrder:
        raise _unknown(reservation_id) from None
    except Refused as error:
        raise Problem(409, str(error)) from None


def _hold(body: MakeReservation, idempotency_key: str | None) -> Hold:
    """Return the hold that is requested; without an order id, the key determines it."""
    order_id = body.order_id or new_id("reservation", idempotency_key)
    return Hold(
        order_id=order_id,
        user_id=body.user_id,
        items=body.items,
        user_location=body.user_location,
        total_amount=body.total_amount,
        currency=body.currency,
        expires_in=body.expires_in,
        payment_method=body.payment_method,
    )


def _matches(reservation: Reservation, hold: Hold) -> bool:
    """Return whether a reservation matches a hold; a saga that took it over has set its own price."""
    requested = (hold.items, hold.user_id, hold.user_location)
    if (reservation.items, reservation.user_id, reservation.user_location) != requested:
        return False
    taken_over = reservation.saga and hold.total_amount is None
    return taken_over or (reservation.total_amount, reservation.currency, reservation.payment_method) == (
        hold.total_amount,
        hold.currency,
        hold.payment_method,
    )


def _shortages(error: InsufficientStock) -> Problem:
    shortages = [
        FieldProblem(
            field=shortage.product_id,
            message=f"{shortage.requested} requested, {shortage.available} available",
        )
        for shortage in error.shortages
    ]
    return Problem(409, str(error), shortages)


def _unknown(reservation_id: str) -> Problem:
    return Problem(404, f"there is no reservation {reservation_id}")
