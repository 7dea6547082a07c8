"""`saga payments`: shows payments, and retries refunds that the provider has rejected."""

import asyncio
import json
from time import monotonic
from typing import Annotated

import typer

from operations.client import POLL_SECONDS, Json, SagaClient
from operations.endpoints import find
from operations.errors import CommandFailed

app = typer.Typer(help="Show payments and retry refunds.", no_args_is_help=True)

PaymentId = Annotated[
    str, typer.Argument(metavar="ID", help="The payment's id, which is the id of its order.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the payment as JSON.")]


@app.command(epilog="Example: saga payments show 3f2a9c --json")
def show(payment_id: PaymentId, as_json: AsJson = False) -> None:
    """Print a payment: its status, the reason, and what the customer has to do."""
    asyncio.run(_show(payment_id, as_json))


@app.command(epilog="Example: saga payments refund 3f2a9c --wait 10")
def refund(
    payment_id: PaymentId,
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Wait for a provider that decides later.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Retry a rejected refund now, or refund a payment that belongs to no order.

    The exit code is 0 only if the payment is refunded. Repeating the command never refunds a payment twice.
    """
    asyncio.run(_refund(payment_id, wait, as_json))


def describe(payment: Json) -> list[str]:
    """Render a payment as plain text, one line for each field."""
    fields = {
        "payment": payment["paymentId"],
        "status": payment["status"],
        "reason": payment.get("reason"),
        "amount": f"{payment.get('amount', '')} {payment.get('currency', '')}".strip(),
        "customer": payment.get("userId"),
        "expires": payment.get("expiresAt"),
        "charge": payment.get("chargeId"),
        "refund": payment.get("refundId"),
        "pending": payment.get("pending"),
        "attempt": payment.get("refundAttempt"),
        "next try": payment.get("nextAttemptAt"),
    }
    actions = [
        f"{action['kind']} {action['name']}: {action['value']}" for action in payment.get("actions") or ()
    ]
    lines = [f"{name + ':':<10} {value}" for name, value in fields.items() if value]
    return [*lines, *(f"{'to do:':<10} {action}" for action in actions)]


def _print(payment: Json, as_json: bool) -> None:
    typer.echo(json.dumps(payment) if as_json else "\n".join(describe(payment)))


async def _show(payment_id: str, as_json: bool) -> None:
    async with SagaClient(find()) as services:
        payment = await services.payment(payment_id)
    _print(payment, as_json)


async def _refund(payment_id: str, wait: float, as_json: bool) -> None:
    async with SagaClient(find()) as services:
        payment = await services.refund(payment_id)
        deadline = monotonic() + wait
        while payment["status"] == "refunding" and monotonic() < deadline:
            await asyncio.sleep(POLL_SECONDS)
            payment = await services.payment(payment_id)
    _print(payment, as_json)
    if payment["status"] != "refunded":
        raise CommandFailed(_unsettled(payment))


def _unsettled(payment: Json) -> str:
    if payment["status"] == "refundFailed":
        return f"the provider rejects the refund: {payment.get('reason')}; fix the cause, then try again"
    return (
        "the provider has not decided on the refund yet; "
        f"check it later with `saga payments show {payment['paymentId']}`"
    )
