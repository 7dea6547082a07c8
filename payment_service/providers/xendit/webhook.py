"""The HTTP route that Xendit sends its webhooks to; see https://docs.xendit.co/docs/handling-webhooks."""

from collections.abc import Awaitable, Callable
from hmac import compare_digest
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import FastAPI, Header, Request
from pydantic import SecretStr

from events.codec import InvalidEvent, parse_json
from events.values import Model
from payment_service.providers.base import Notification
from payment_service.providers.xendit.messages import parse_notification
from saga.http.problems import Problem
from saga.http.security import own_token


class WebhookAccepted(Model):
    """The webhook was accepted."""

    status: Literal["ok"] = "ok"


def add_webhook(
    app: FastAPI, token: SecretStr, handle_notification: Callable[[Notification], Awaitable[None]]
) -> None:
    """Serve Xendit's webhooks, which carry this token.

    Any answer but 2xx makes Xendit send the webhook again, so that unknown ones are accepted as well.
    """
    expected = token.get_secret_value().encode()

    @app.post(
        "/webhooks/xendit",
        openapi_extra=own_token("x-callback-token"),
        summary="Notify of a change of a payment or refund at Xendit",
    )
    async def receive(request: Request, x_callback_token: Annotated[str, Header()] = "") -> WebhookAccepted:
        if not compare_digest(x_callback_token.encode(), expected):
            raise Problem(HTTPStatus.UNAUTHORIZED, "the x-callback-token is wrong")
        try:
            event = parse_json(await request.body())
        except InvalidEvent as error:
            raise Problem(HTTPStatus.BAD_REQUEST, str(error)) from None
        if notification := parse_notification(event):
            await handle_notification(notification)
        return WebhookAccepted()
