"""The HTTP API of the payment service."""

from hmac import compare_digest
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, Request, Response
from fastapi import Path as PathParameter
from pydantic import ConfigDict, Field, SecretStr
from pydantic.alias_generators import to_camel

from events.catalogue import DEFAULT_CURRENCY, PAYMENT, PaymentRequested
from events.codec import InvalidEvent, parse_json
from events.identity import transition_id
from events.types import ID_PATTERN, Currency, Id, Money, PaymentMethod, Price, Timestamp
from events.values import Model
from payment_service.application import PaymentApplication
from payment_service.payment import Payment, PaymentStatus
from payment_service.providers.base import Action
from payment_service.providers.xendit.messages import parse_notification
from saga.errors import OutOfOrder, Refused
from saga.http.app import Problem, create_app, needs, own_token

PathId = Annotated[str, PathParameter(pattern=ID_PATTERN)]


class MakePayment(Model):
    """A customer to charge, outside of any saga."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")

    order_id: Id
    user_id: Id
    amount: Price
    currency: Currency = DEFAULT_CURRENCY
    idempotency_key: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,80}$")]
    payment_method: PaymentMethod | None = None


class PaymentView(Model):
    """A payment; its id is the order's.

    `pending` is the provider's reference of a charge or refund that it has not decided on, `actions` what the
    customer has to do so that it can, `nextAttemptAt` when the provider is asked again.
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
    """The money that went to and fro in one currency."""

    currency: Currency
    charged: Money
    refunded: Money


class PaymentBooks(Model):
    """The money that went to and fro, by currency."""

    books: list[PaymentTotal]


def view(payment: Payment) -> PaymentView:
    """Return what callers see of a payment."""
    fields: dict[str, Any] = {
        name: getattr(payment, name) for name in PaymentView.model_fields if name != "payment_id"
    }
    return PaymentView(payment_id=payment.order_id, **fields)


class WebhookAccepted(Model):
    """A webhook was heard."""

    status: Literal["ok"] = "ok"


def payment_api(worker: PaymentApplication, callback_token: SecretStr | None = None) -> FastAPI:
    """Return the application; with the token that Xendit sends with its webhooks, it listens to them."""
    app = create_app("Payment service", "Charges customers and pays them back, once each.")

    @app.post(
        "/payments",
        openapi_extra=needs("payments"),
        status_code=202,
        summary="Charge a customer, outside of any saga",
    )
    async def charge(body: MakePayment, response: Response) -> PaymentView:
        request = PaymentRequested(
            event_id=transition_id(PAYMENT, body.order_id, "charge_directly"),
            **{name: getattr(body, name) for name in MakePayment.model_fields},
        )
        payment = await worker.charge_directly(request)
        if not _same(payment, body):
            raise Problem(409, f"there is another payment for the order {body.order_id}")
        response.headers["Location"] = f"/payments/{payment.order_id}"
        return view(payment)

    @app.get("/payments/{payment_id}", openapi_extra=needs("payments"), summary="One payment")
    async def show(payment_id: PathId) -> PaymentView:
        payment = await worker.store.get(payment_id)
        if payment is None:
            raise _unknown(payment_id)
        return view(payment)

    @app.post(
        "/payments/{payment_id}/refund",
        openapi_extra=needs("payments"),
        status_code=202,
        summary="Pay back a payment of no saga, or settle a refund that was refused",
    )
    async def refund(payment_id: PathId) -> PaymentView:
        try:
            return view(await worker.refund_directly(payment_id))
        except OutOfOrder:
            raise _unknown(payment_id) from None
        except Refused as error:
            raise Problem(409, str(error)) from None

    @app.get("/books", openapi_extra=needs("operate"), summary="Sums charged and refunded, by currency")
    async def books() -> PaymentBooks:
        return PaymentBooks(
            books=[
                PaymentTotal(currency=currency, charged=charged, refunded=refunded)
                for currency, charged, refunded in await worker.store.books()
            ]
        )

    if callback_token:
        _add_webhook(app, worker, callback_token)
    return app


def _add_webhook(app: FastAPI, worker: PaymentApplication, token: SecretStr) -> None:
    """Serve Xendit's webhooks; see https://docs.xendit.co/docs/handling-webhooks.

    An answer other than 2xx makes it send the webhook again: what is not ours is heard like all others.
    """
    expected = token.get_secret_value().encode()

    @app.post(
        "/webhooks/xendit",
        openapi_extra=own_token("x-callback-token"),
        summary="Xendit says that something has become of a payment or refund",
    )
    async def handle_notification(
        request: Request, x_callback_token: Annotated[str, Header()] = ""
    ) -> WebhookAccepted:
        if not compare_digest(x_callback_token.encode(), expected):
            raise Problem(HTTPStatus.UNAUTHORIZED, "the x-callback-token is not ours")
        try:
            event = parse_json(await request.body())
        except InvalidEvent as error:
            raise Problem(400, str(error)) from None
        if notification := parse_notification(event):
            await worker.handle_notification(notification)
        return WebhookAccepted()


def _same(payment: Payment, body: MakePayment) -> bool:
    return (
        payment.user_id,
        payment.amount,
        payment.currency,
        payment.idempotency_key,
        payment.payment_method,
    ) == (body.user_id, body.amount, body.currency, body.idempotency_key, body.payment_method)


def _unknown(payment_id: str) -> Problem:
    return Problem(404, f"there is no payment {payment_id}")
