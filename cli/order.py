"""`saga order`: places, shows, cancels and follows orders."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated

import typer

from events.codec import InvalidEvent, from_json
from operations.client import Json, SagaClient
from operations.endpoints import find
from operations.event_tap import LAST_EVENTS, Seen, tap
from operations.timeline import lines, timeline
from order_service.order import TERMINAL

app = typer.Typer(help="Place, show, cancel and follow orders.", no_args_is_help=True)

OrderId = Annotated[
    str, typer.Argument(metavar="ORDER_ID", help="The order's id, as `saga order place` prints it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the order as JSON.")]
Wait = Annotated[
    float,
    typer.Option(
        min=0, metavar="SECONDS", help="Wait for the order's end; exit code 1 if it has not ended by then."
    ),
]
LAST_EVENT_SECONDS = 2.0
"""How long after the end of the order its last event may come."""

PLACE_EXAMPLES = """\b
Examples:
  saga order place --item tea:2 --total 25.00 --wait 10
  saga order place --item tea:2@berlin --item kettle:1 --total 60 --currency EUR
  saga order place --item tea:1 --total 9.90 --near 52.5,13.4 --payment-method sim:decline

\b
Payment methods of the simulated provider:
  (none)             approves
  sim:decline        declines
  sim:delay:2.5      approves after 2.5 seconds
  sim:timeout:3      does not answer the first 3 calls
  sim:outage:10      is down for 10 seconds from the first call
  sim:pending:30     waits 30 seconds for the customer, then approves; see `saga payments show`
"""


@app.command(epilog=PLACE_EXAMPLES)
def place(
    items: Annotated[
        list[str],
        typer.Option(
            "--item",
            metavar="SKU:QTY[@WAREHOUSE]",
            help="A product, its quantity, and optionally the only warehouse to take it from. Repeatable.",
        ),
    ],
    total: Annotated[str, typer.Option(metavar="AMOUNT", help="The total amount, such as 25.00.")],
    user: Annotated[str, typer.Option(metavar="ID", help="The customer's id.")] = "customer-1",
    currency: Annotated[
        str | None, typer.Option(metavar="CODE", help="The ISO 4217 code of the currency.  [default: USD]")
    ] = None,
    near: Annotated[
        str | None,
        typer.Option(
            metavar="LAT,LON", help="The customer's location in degrees, to choose the nearest warehouses."
        ),
    ] = None,
    expires_in: Annotated[
        int | None, typer.Option(metavar="SECONDS", help="How long the stock is held.  [default: 600]")
    ] = None,
    payment_method: Annotated[
        str | None, typer.Option(metavar="REFERENCE", help="A payment method of the provider; see below.")
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="A request with a known key returns the order of that key."),
    ] = None,
    wait: Wait = 0,
    as_json: AsJson = False,
) -> None:
    """Place an order and print its id and status."""
    fields = {
        "userId": user,
        "items": [parse_item(text) for text in items],
        "totalAmount": total,
        "currency": currency,
        "userLocation": parse_location(near) if near is not None else None,
        "expiresIn": expires_in,
        "paymentMethod": payment_method,
    }
    body = {name: value for name, value in fields.items() if value is not None}
    _check(body)
    asyncio.run(_place(body, idempotency_key, wait, as_json))


@app.command(epilog="Example: saga order show 3f2a9c --wait 5 --json")
def show(order_id: OrderId, wait: Wait = 0, as_json: AsJson = False) -> None:
    """Print an order: its status, the reason, and the answers it waits for."""
    asyncio.run(_show(order_id, wait, as_json))


@app.command(epilog="Example: saga order cancel 3f2a9c --wait 5")
def cancel(order_id: OrderId, wait: Wait = 0, as_json: AsJson = False) -> None:
    """Cancel an order that is not confirmed yet; its stock is released and its payment refunded."""
    asyncio.run(_cancel(order_id, wait, as_json))


@app.command(epilog="Example: saga order watch 3f2a9c --timeout 30")
def watch(
    order_id: OrderId,
    timeout: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="How long to follow the order; exit code 1 if it has not ended by then.",
        ),
    ] = 60,
) -> None:
    """Follow an order until its end: its status, and each event from now on."""
    asyncio.run(_watch(order_id, timeout))


def parse_item(text: str) -> Json:
    """Parse an item of an order from `SKU:QTY[@WAREHOUSE]`.

    Raises:
        typer.BadParameter: it is not of that form.
    """
    product, colon, rest = text.partition(":")
    quantity, at, warehouse = rest.partition("@")
    if not (product and colon and quantity.isascii() and quantity.isdigit()) or (at and not warehouse):
        raise typer.BadParameter(
            f"{text!r} is not SKU:QTY[@WAREHOUSE], such as tea:2 or tea:2@berlin", param_hint="--item"
        )
    item: Json = {"productId": product, "quantity": int(quantity)}
    return {**item, "warehouseId": warehouse} if at else item


def parse_location(text: str) -> Json:
    """Parse a location from `LAT,LON`, in degrees.

    Raises:
        typer.BadParameter: it is not of that form.
    """
    try:
        latitude, longitude = map(float, text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not LAT,LON, such as 52.5,13.4", param_hint="--near") from None
    return {"latitude": latitude, "longitude": longitude}


def describe(order: Json) -> list[str]:
    """Render an order as plain text, one line for each field."""
    items = ", ".join(_item(item) for item in order.get("items") or ())
    fields = {
        "order": order["orderId"],
        "status": order["status"],
        "reason": order.get("reason"),
        "refund": order.get("refundFailure"),
        "awaiting": ", ".join(map(str, order.get("awaiting") or ())),
        "customer": order.get("userId"),
        "items": items,
        "total": f"{order.get('totalAmount', '')} {order.get('currency', '')}".strip(),
        "payment": order.get("paymentId"),
        "created": order.get("createdAt"),
    }
    return [f"{name + ':':<10} {value}" for name, value in fields.items() if value]


def _item(item: Json) -> str:
    warehouse = f" from {item['warehouseId']}" if item.get("warehouseId") else ""
    return f"{item['quantity']} x {item['productId']}{warehouse}"


def _check(body: Json) -> None:
    """Reject invalid fields early: the body of an order has the business fields of the request event."""
    try:
        from_json({"type": "InventoryReservationRequested", "orderId": "new", **body}, forbid_unknown=True)
    except InvalidEvent as error:
        raise typer.BadParameter(str(error)) from None


def _print(order: Json, as_json: bool) -> None:
    typer.echo(json.dumps(order) if as_json else "\n".join(describe(order)))


async def _place(body: Json, idempotency_key: str | None, wait: float, as_json: bool) -> None:
    async with SagaClient(find()) as services:
        order = await services.place(body, idempotency_key)
        if wait:
            order = await services.ended(order["orderId"], wait)
    _print(order, as_json)


async def _show(order_id: str, wait: float, as_json: bool) -> None:
    async with SagaClient(find()) as services:
        order = await services.order(order_id)
        if wait:
            order = await services.ended(order_id, wait)
    _print(order, as_json)


async def _cancel(order_id: str, wait: float, as_json: bool) -> None:
    async with SagaClient(find()) as services:
        order = await services.cancel(order_id)
        if wait:
            order = await services.ended(order_id, wait)
    _print(order, as_json)


async def _watch(order_id: str, timeout: float) -> None:
    endpoints = find()
    async with SagaClient(endpoints) as services:
        order = await services.order(order_id)
        async with tap(endpoints.rabbitmq, f"#.{order['correlationId']}") as events:
            order = await services.order(order_id)
            if order["status"] not in TERMINAL:
                typer.echo(
                    f"order {order_id} is {order['status']}; its events from now on, timed from its placing:"
                )
                order = await _follow(services, events, order, timeout)
    typer.echo("\n".join(describe(order)))


async def _follow(services: SagaClient, events: AsyncIterator[Seen], order: Json, timeout: float) -> Json:
    """Print an order's events until it has ended; return how it ended."""
    printing = asyncio.create_task(_print_events(events, order))
    try:
        order = await services.ended(order["orderId"], timeout)
        await asyncio.wait({printing}, timeout=LAST_EVENT_SECONDS)
    finally:
        printing.cancel()
        await asyncio.gather(printing, return_exceptions=True)
    return order


async def _print_events(events: AsyncIterator[Seen], order: Json) -> None:
    placed_at = datetime.fromisoformat(order["createdAt"])
    async for seen in events:
        if seen.event.order_id == order["orderId"]:
            typer.echo("\n".join(lines(timeline([seen], placed_at))))
            if seen.event.type in LAST_EVENTS:
                return
