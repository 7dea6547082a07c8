"""Translates between the service's requests and answers and Xendit's JSON; without input or output.

Written from the public documentation of Xendit's Payments API, version 2024-11-11:

- https://docs.xendit.co/apidocs/create-payment-request, .../get-payment-request, .../cancel-payment-request
- https://docs.xendit.co/apidocs/refund-payment-request
- https://docs.xendit.co/apidocs/payment-webhook-notification, .../refund-webhook-notification
- https://docs.xendit.co/docs/payments-api-webhooks, https://docs.xendit.co/docs/handling-webhooks

`docs/payments.md` lists what could not be verified.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from events.types import format_time
from payment_service.providers.base import (
    Action,
    Approved,
    Charge,
    ChargeAnswer,
    Declined,
    Notification,
    Pending,
    Refund,
    RefundAnswer,
    Refunded,
    RefundRefused,
)

Json = Mapping[str, Any]

COUNTRIES = {
    **{"IDR": "ID", "PHP": "PH", "VND": "VN", "THB": "TH"},
    **{"SGD": "SG", "MYR": "MY", "HKD": "HK", "MXN": "MX"},
}
"""The country of a payment in a currency, unless the settings name it."""
WHOLE = {"IDR", "VND", "JPY", "KRW", "CLP"}
"""Currencies that are paid in whole units; all others have two decimal places."""
EXPIRING = ("BANK_TRANSFER", "QRPROMPTPAY")
EXPIRING_SUFFIX = "_VIRTUAL_ACCOUNT"
"""The channels that are documented to take a time of expiry; requests on the others are cancelled instead."""
KINDS: dict[str, Literal["redirect", "present", "call"]] = {
    "REDIRECT_CUSTOMER": "redirect",
    "PRESENT_TO_CUSTOMER": "present",
    "API_POST_REQUEST": "call",
}
AGAIN = {"RATE_LIMIT_EXCEEDED", "TEMPORARILY_UNAVAILABLE", "SERVER_ERROR"}
"""Errors that do not concern the request: it may be repeated unchanged."""
CHANNEL = {"PAYMENT_REQUEST_RATE_LIMITED", "CHANNEL_UNAVAILABLE", "ISSUER_UNAVAILABLE"}
"""The same, caused by one channel only."""
EARLIER = {"REFUND_IN_PROGRESS", "REFUND_AMOUNT_EXCEEDED", "DUPLICATE_ERROR"}
"""Errors that an earlier call of the same request may cause."""
FATAL = {
    *("INVALID_API_KEY", "INVALID_MERCHANT_SETTINGS", "INVALID_MERCHANT_CREDENTIALS"),
    *("REQUEST_FORBIDDEN_ERROR", "UNSUPPORTED_API_VERSION"),
}
"""Errors of every request until an operator corrects the settings."""
REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class MerchantSettings:
    """What Xendit needs to know about the merchant: the page that customers return to (https), the name on a
    bank transfer, and the country of payments in currencies that several countries use."""

    return_url: str | None = None
    display_name: str | None = None
    country: str | None = None


@dataclass(frozen=True, slots=True)
class XenditError:
    """An answer that is an error.

    `refused`: the request never has an effect. `again`, `channel`: nothing is known, and all requests, or
    those of one channel, may fail likewise. `earlier`: an earlier call may have had the effect. `fatal`:
    Xendit serves none of our requests.
    """

    kind: Literal["refused", "again", "channel", "earlier", "fatal"]
    reason: str


def charge_body(charge: Charge, merchant: MerchantSettings) -> str | Declined:
    """Return the body that requests a charge, or why Xendit cannot make it.

    The payment method is `CHANNEL`, `pt-TOKEN`, or `CHANNEL:pt-TOKEN`.
    """
    channel, token = _method(charge.payment_method)
    country = COUNTRIES.get(charge.currency) or merchant.country
    if channel is None and token is None:
        return Declined("payment_method_unknown")
    if country is None:
        return Declined("currency_not_supported")
    if not _payable(charge.amount, charge.currency):
        return Declined("amount_not_payable")
    properties: dict[str, str] = {}
    if merchant.return_url:
        properties |= {"success_return_url": merchant.return_url, "failure_return_url": merchant.return_url}
    if channel and (channel in EXPIRING or channel.endswith(EXPIRING_SUFFIX)):
        if charge.expires_at:
            properties["expires_at"] = format_time(charge.expires_at)
        if merchant.display_name:
            properties["display_name"] = merchant.display_name
    body: dict[str, object] = {
        "reference_id": charge.key,
        "type": "PAY",
        "country": country,
        "currency": charge.currency,
        "capture_method": "AUTOMATIC",
        "channel_properties": properties,
    }
    if channel:
        body["channel_code"] = channel
    if token:
        body["payment_token_id"] = token
    return _with_amount(body, "request_amount", charge.amount)


def refund_body(refund: Refund) -> str:
    """Return the body that requests a refund."""
    body = {
        "reference_id": refund.key,
        "payment_request_id": refund.charge_id,
        "currency": refund.currency,
        "reason": "CANCELLATION",
    }
    return _with_amount(body, "amount", refund.amount)


def charge_answer(request: Json) -> ChargeAnswer:
    """Return what the state of a payment request means.

    Raises:
        ValueError: this is not a payment request.
    """
    reference, status = _reference(request.get("payment_request_id")), request.get("status")
    if status == "SUCCEEDED":
        return Approved(reference)
    if status == "FAILED":
        return Declined(_word(request.get("failure_code") or "failed"))
    if status in ("EXPIRED", "CANCELED"):
        return Declined("expired" if status == "EXPIRED" else "cancelled")
    if status in ("REQUIRES_ACTION", "ACCEPTING_PAYMENTS", "AUTHORIZED", "PENDING"):
        return Pending(reference, tuple(_actions(request)))
    raise ValueError(f"a payment request with the status {_word(status)}")


def refund_answer(refund: Json) -> RefundAnswer:
    """Return what the state of a refund means.

    Raises:
        ValueError: this is not a refund.
    """
    reference, status = _reference(refund.get("id")), refund.get("status")
    if status == "SUCCEEDED":
        return Refunded(reference)
    if status in ("FAILED", "CANCELLED"):
        return RefundRefused(_word(refund.get("failure_code") or status))
    if status == "PENDING":
        return Pending(reference)
    raise ValueError(f"a refund with the status {_word(status)}")


def amount_of(one: Json, name: str) -> Decimal | None:
    """Return an amount, which is sent as a number or as a string."""
    try:
        return Decimal(str(one.get(name)))
    except InvalidOperation:
        return None


def is_same(charge: Charge, request: Json) -> bool:
    """Return whether a payment request is that of this charge."""
    found = (request.get("reference_id"), amount_of(request, "request_amount"), request.get("currency"))
    return found == (charge.key, charge.amount, charge.currency)


def classify_error(status: int, body: object) -> XenditError:
    """Return what an answer other than 2xx means."""
    code = str(body.get("error_code") or "") if isinstance(body, Mapping) else ""
    reason = _word(code or f"http_{status}")
    if code in FATAL or status == 401 or (status in (403, 404, 405) and not code):
        return XenditError("fatal", reason)
    if code in EARLIER or status == 409:
        return XenditError("earlier", reason)
    if code in CHANNEL:
        return XenditError("channel", reason)
    if code in AGAIN or status in (408, 425, 429) or status >= 500 or status < 400:
        return XenditError("again", reason)
    return XenditError("refused", reason)


def parse_notification(event: object) -> Notification | None:
    """Return what a webhook notifies of; None if it concerns neither a payment nor a refund."""
    name = event.get("event") if isinstance(event, Mapping) else None
    data = event.get("data") if isinstance(event, Mapping) else None
    if not isinstance(name, str) or not isinstance(data, Mapping):
        return None
    refund = name.startswith("refund.")
    if not refund and not name.startswith(("payment.", "payment_request.")):
        return None
    # The documented example of a refund has its data inside another `data`.
    inner = data.get("data")
    data = inner if isinstance(inner, Mapping) else data
    key, reference = data.get("reference_id"), data.get("id" if refund else "payment_request_id")
    if not isinstance(key, str) or not isinstance(reference, str) or not REFERENCE.fullmatch(reference):
        return None
    return Notification(key, reference)


def _method(reference: str | None) -> tuple[str | None, str | None]:
    first, _, second = (reference or "").partition(":")
    if first.startswith("pt-") and not second:
        return None, first
    if re.fullmatch(r"[A-Z0-9_]{2,60}", first) and (not second or second.startswith("pt-")):
        return first, second or None
    return None, None


def _payable(amount: Decimal, currency: str) -> bool:
    places = 0 if currency in WHOLE else 2
    return amount == round(amount, places)


def _with_amount(body: Mapping[str, object], name: str, amount: Decimal) -> str:
    """Return the body with an amount as an exact number, which the JSON library cannot write."""
    return f'{json.dumps(body)[:-1]}, "{name}": {amount:f}}}'


def _actions(request: Json) -> list[Action]:
    actions = request.get("actions")
    return [
        Action(kind=KINDS[action["type"]], name=_word(action.get("descriptor")), value=str(action["value"]))
        for action in (actions if isinstance(actions, list) else ())
        if isinstance(action, Mapping) and action.get("type") in KINDS and action.get("value")
    ]


def _reference(value: object) -> str:
    if not isinstance(value, str) or not REFERENCE.fullmatch(value):
        raise ValueError("an object without an id")
    return value


def _word(value: object) -> str:
    """Return a code in a form that is safe in an event and in a log."""
    return re.sub(r"[^a-z0-9_]+", "_", str(value).lower())[:100] or "unknown"
