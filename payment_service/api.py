"""The HTTP API of the payment service."""

from typing import Annotated

from fastapi import FastAPI, Response
from pydantic import Field

from events.catalogue import DEFAULT_CURRENCY, PaymentRequested
from events.types import Currency, Id, Money, PaymentMethod, Price, Timestamp
from events.values import Model
from payment_service.application import PaymentApplication
from payment_service.payment import Payment, PaymentStatus
from payment_service.ports import PaymentQueries
from payment_service.providers.base import Action
from saga.errors import OutOfOrder, Refused
from saga.http.app import create_app
from saga.http.problems import Problem
from saga.http.requests import PathId, RequestBody
from saga.http.security import needs


class MakePayment(RequestBody):
    """A customer to charge outside any saga."""

    order_id: Id
    user_id: Id
    amount: Price
    currency: Currency = DEFAULT_CURRENCY
    idempotency_key: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,80}$")]
    payment_method: PaymentMethod | None = None


class PaymentView(Model):
    """A payment; its id is the order's.

    `pending` is the provider's reference to a charge or refund that it has not decided, `actions` what the
    customer has to do before it can decide, `nextAttemptAt` when the service asks the provider again.
    """

    payment_id: Id
    order_id: Id
    status: PaymentStatus
    saga: bool
    user_id: Id | None
    amount: Money
    currency: Currency
    idempotency_key: str
    expires_at: Timestamp | None
    pending: str | None
    actions: tuple[Action, ...]
    charge_id: str | None
    refund_id: str | None
    refunded_amount: Money
    refund_attempt: int
    reason: str | None
    next_attempt_at: Timestamp | None


class PaymentTotal(Model):
    """The sums charged and refunded in one currency."""

    currency: Currency
    charged: Money
    refunded: Money


class PaymentBooks(Model):
    """The sums charged and refunded, by currency."""

    books: list[PaymentTotal]


def view(payment: Payment) -> PaymentView:
    """Return what callers see of a payment."""
    return PaymentView.model_validate(payment, from_attributes=True)


def payment_api(application: PaymentApplication, payments: PaymentQueries) -> FastAPI:
    """Return the HTTP API of this application."""
    app = create_app("Payment service", "Charges customers and pays them back, once each.")

    @app.post(
        "/payments",
        openapi_extra=needs("payments"),
        status_code=202,
        summary="Charge a customer outside any saga",
    )
    async def charge(body: MakePayment, response: Response) -> PaymentView:
        payment = await application.charge_directly(PaymentRequested(**dict(body)))
        if not _matches(payment, body):
            raise Problem(409, f"there is another payment for the order {body.order_id}")
        response.headers["Location"] = f"/payments/{payment.order_id}"
        return view(payment)

    @app.get("/payments/{payment_id}", openapi_extra=needs("payments"), summary="Get one payment")
    async def show(payment_id: PathId) -> PaymentView:
        payment = await application.store.get(payment_id)
        if payment is None:
            raise _unknown(payment_id)
        return view(payment)

    @app.post(
        "/payments/{payment_id}/refund",
        openapi_extra=needs("payments"),
        status_code=202,
        summary="Refund a payment that belongs to no saga, or retry a refused refund",
    )
    async def refund(payment_id: PathId) -> PaymentView:
        try:
            return view(await application.refund_directly(payment_id))
        except OutOfOrder:
            raise _unknown(payment_id) from None
        except Refused as error:
            raise Problem(409, str(error)) from None

    @app.get(
        "/books", openapi_extra=needs("operate"), summary="Get the sums charged and refunded, by currency"
    )
    async def books() -> PaymentBooks:
        return PaymentBooks(
            books=[
                PaymentTotal(currency=currency, charged=charged, refunded=refunded)
                for currency, charged, refunded in await payments.books()
            ]
        )

    return app


def _matches(payment: Payment, body: MakePayment) -> bool:
    return (
        payment.user_id,
        payment.amount,
        payment.currency,
        payment.idempotency_key,
        payment.payment_method,
    ) == (body.user_id, body.amount, body.currency, body.idempotency_key, body.payment_method)


def _unknown(payment_id: str) -> Problem:
    return Problem(404, f"there is no payment {payment_id}")
