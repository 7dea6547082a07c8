"""Xendit as a payment provider, over its Payments API (version 2024-11-11).

A charge is a payment request (https://docs.xendit.co/apidocs/create-payment-request) with the charge's key as
its `reference_id` and as its idempotency key, and so is a refund
(https://docs.xendit.co/apidocs/refund-payment-request). Authentication, limits and errors:
https://docs.xendit.co/apidocs/quick-setup, .../rate-limits. `payment_service.providers.xendit.messages`
translates the bodies; `docs/payments.md` lists what could not be verified.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import quote

import httpx
import structlog

from events.codec import InvalidEvent, parse_json
from payment_service.providers.base import (
    Answer,
    Charge,
    ChargeAnswer,
    Declined,
    NoAnswer,
    ProviderDown,
    Refund,
    RefundAnswer,
    Refunded,
    RefundRefused,
)
from payment_service.providers.circuit_breaker import FIRST_OPEN, LONGEST_OPEN, CircuitBreaker
from payment_service.providers.xendit.messages import (
    Json,
    MerchantSettings,
    XenditError,
    amount_of,
    charge_answer,
    charge_body,
    classify_error,
    is_same,
    refund_answer,
    refund_body,
)
from saga.backoff import backoff, jittered

log = structlog.get_logger()
T = TypeVar("T")

VERSION = "2024-11-11"
TRIES = 3
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 0.4
"""Seconds between two tries of one call, before jitter."""


class XenditProvider:
    """See `providers.base.Provider`.

    `client` has the address, the key and the timeout; `time` is in seconds, `dice` adds jitter to the pauses.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        merchant: MerchantSettings,
        time: Callable[[], float],
        dice: random.Random | None = None,
    ) -> None:
        self._client = client
        self._merchant = merchant
        self._dice = dice or random.Random()  # noqa: S311 (jitter)
        self._circuit = CircuitBreaker(time, self._dice)

    async def check(self) -> None:
        """See `Provider`."""
        self._circuit.check()

    async def charge(self, charge: Charge) -> ChargeAnswer:
        """See `Provider`."""
        body = charge_body(charge, self._merchant)
        if isinstance(body, Declined):
            return body
        answer = await self._call("POST", "/v3/payment_requests", body, charge.key)
        if not isinstance(answer, XenditError):
            return self._charged(charge, answer)
        if answer.kind == "refused":
            return Declined(answer.reason)
        # Xendit served an earlier call: a notification, which has its reference, will say how it ended.
        raise NoAnswer(answer.reason)

    async def refund(self, refund: Refund) -> RefundAnswer:
        """See `Provider`."""
        answer = await self._call("POST", "/refunds", refund_body(refund), refund.key)
        if not isinstance(answer, XenditError):
            return _read(refund_answer, answer)
        if answer.kind == "earlier":
            return await self._earlier_refund(refund, answer)
        return RefundRefused(answer.reason)

    async def fetch(self, request: Charge | Refund, reference: str) -> Answer:
        """See `Provider`."""
        if isinstance(request, Charge):
            found = await self._call("GET", f"/v3/payment_requests/{quote(reference, safe='')}")
            if not isinstance(found, XenditError):
                return self._charged(request, found)
            raise NoAnswer(found.reason)
        found = await self._call("GET", f"/refunds/{quote(reference, safe='')}")
        if isinstance(found, XenditError):
            raise NoAnswer(found.reason)
        if found.get("reference_id") != request.key:
            log.error("another_refund", key=request.key, reference=reference)
            raise NoAnswer("this is another refund")
        return _read(refund_answer, found)

    async def cancel(self, charge: Charge, reference: str) -> ChargeAnswer:
        """See `Provider`."""
        answer = await self._call("POST", f"/v3/payment_requests/{quote(reference, safe='')}/cancel", "{}")
        if not isinstance(answer, XenditError):
            return self._charged(charge, answer)
        state = await self.fetch(charge, reference)
        if isinstance(state, Refunded | RefundRefused):
            raise NoAnswer("a charge cannot be refunded yet")
        return state

    async def _earlier_refund(self, refund: Refund, error: XenditError) -> RefundAnswer:
        """Return the result of an earlier call: of this attempt, or of one that was taken for refused."""
        path = f"/refunds?payment_request_id={quote(refund.charge_id, safe='')}"
        listed = await self._call("GET", path)
        found = listed.get("data") if isinstance(listed, Mapping) else None
        if not isinstance(found, list):
            raise NoAnswer(error.reason)
        made = [one for one in found if isinstance(one, Mapping)]
        succeeded = [one for one in made if one.get("status") == "SUCCEEDED"]
        if succeeded and sum(amount_of(one, "amount") or 0 for one in succeeded) >= refund.amount:
            return _read(refund_answer, succeeded[0])
        for one in made:
            if one.get("reference_id") == refund.key:
                return _read(refund_answer, one)
        if any(one.get("status") == "PENDING" for one in made) or error.reason != "refund_amount_exceeded":
            raise NoAnswer(error.reason)
        return RefundRefused(error.reason)

    def _charged(self, charge: Charge, request: Json) -> ChargeAnswer:
        if not is_same(charge, request):
            log.error("another_payment", key=charge.key, reference=request.get("payment_request_id"))
            raise NoAnswer("this is another payment")
        return _read(charge_answer, request)

    async def _call(
        self, method: str, path: str, body: str | None = None, key: str = ""
    ) -> Json | XenditError:
        """Make a call; return the body of the answer, or the error that it was refused with.

        Raises:
            NoAnswer, ProviderDown: nothing is known about the request.
        """
        headers = {"api-version": VERSION, "content-type": "application/json"}
        if key:
            headers["idempotency-key"] = key
        for attempt in range(1, TRIES + 1):
            try:
                response = await self._client.request(method, path, content=body, headers=headers)
            except httpx.ConnectError as error:
                last: NoAnswer = ProviderDown(f"cannot be reached: {type(error).__name__}")
            except httpx.HTTPError as error:
                # The request may have had its effect: the service repeats it later.
                raise self._failed(NoAnswer(type(error).__name__)) from error
            else:
                answer = _understood(response)
                if not isinstance(answer, XenditError) or answer.kind in ("refused", "earlier"):
                    self._circuit.succeeded()
                    return answer
                if answer.kind == "channel":
                    raise NoAnswer(answer.reason)
                if answer.kind == "fatal":
                    log.error("xendit_unusable", status=response.status_code, reason=answer.reason)
                    raise self._failed(ProviderDown(f"it serves none of our requests: {answer.reason}"))
                if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                    raise self._rate_limited(response)
                last = NoAnswer(answer.reason)
            if attempt < TRIES:
                pause = backoff(FIRST_PAUSE, attempt - 1, LONGEST_PAUSE)
                await asyncio.sleep(jittered(pause, dice=self._dice))
        raise self._failed(last)

    def _failed(self, error: NoAnswer) -> NoAnswer:
        self._circuit.failed(str(error), at_once=isinstance(error, ProviderDown))
        return error

    def _rate_limited(self, response: httpx.Response) -> ProviderDown:
        """Open the circuit until the rate limit ends; see https://docs.xendit.co/apidocs/rate-limits."""
        try:
            seconds = float(response.headers.get("rate-limit-reset", FIRST_OPEN))
        except ValueError:
            seconds = FIRST_OPEN
        if not 0 <= seconds <= 2 * LONGEST_OPEN:
            seconds = LONGEST_OPEN
        self._circuit.open(seconds, "too many requests")
        return ProviderDown("too many requests")


def _understood(response: httpx.Response) -> Json | XenditError:
    try:
        body = parse_json(response.content)
    except InvalidEvent:
        body = None
    if response.is_success and isinstance(body, Mapping):
        return body
    if response.is_success:
        return XenditError("again", "not_json")
    error = classify_error(response.status_code, body)
    message = body.get("message") if isinstance(body, Mapping) else None
    log.warning("xendit_error", status=response.status_code, reason=error.reason, message=message)
    return error


def _read(read: Callable[[Json], T], body: Json) -> T:
    try:
        return read(body)
    except ValueError as error:
        raise NoAnswer(f"not understood: {error}") from error
