"""Xendit as a payment provider, over its Payments API (version 2024-11-11).

A charge is a payment request (https://docs.xendit.co/apidocs/create-payment-request) with our key as its
`reference_id` and as its idempotency key, and so is a refund
(https://docs.xendit.co/apidocs/refund-payment-request). Authentication, limits and errors:
https://docs.xendit.co/apidocs/quick-setup, .../rate-limits. What is said is in
`payment_service.providers.xendit.messages`, what could not be verified in `docs/payments.md`.
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

log = structlog.get_logger()
T = TypeVar("T")

VERSION = "2024-11-11"
TRIES = 3
FIRST_PAUSE = 0.2
"""Seconds between two tries of one call, at most; then twice as long."""
DOWN_AFTER = 3
"""Calls in a row without any decision after which Xendit counts as down."""
FIRST_REST, LONGEST_REST = 1.0, 30.0
"""Seconds that it is left alone then; twice as long each time."""


class XenditProvider:
    """See `providers.base.Provider`. `client` knows the address, the key and how long to wait."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        merchant: MerchantSettings,
        time: Callable[[], float],
        dice: random.Random | None = None,
    ) -> None:
        self._client = client
        self._merchant = merchant
        self._time = time
        self._dice = dice or random.Random()  # noqa: S311 (jitter)
        self._in_vain = 0
        self._rest_until = 0.0
        self._why = ""

    async def check(self) -> None:
        """See `Provider`. After a rest, the next call finds out."""
        if self._time() < self._rest_until:
            raise ProviderDown(self._why)

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
        # An earlier call was served: what came of it is told by a notice, which has its reference.
        raise NoAnswer(answer.reason)

    async def refund(self, refund: Refund) -> RefundAnswer:
        """See `Provider`."""
        answer = await self._call("POST", "/refunds", refund_body(refund), refund.key)
        if not isinstance(answer, XenditError):
            return _read(refund_answer, answer)
        if answer.kind == "earlier":
            return await self._earlier(refund, answer)
        return RefundRefused(answer.reason)

    async def fetch(self, asked: Charge | Refund, reference: str) -> Answer:
        """See `Provider`."""
        if isinstance(asked, Charge):
            request = await self._call("GET", f"/v3/payment_requests/{quote(reference, safe='')}")
            if not isinstance(request, XenditError):
                return self._charged(asked, request)
            raise NoAnswer(request.reason)
        refund = await self._call("GET", f"/refunds/{quote(reference, safe='')}")
        if isinstance(refund, XenditError):
            raise NoAnswer(refund.reason)
        if refund.get("reference_id") != asked.key:
            log.error("another_refund", key=asked.key, reference=reference)
            raise NoAnswer("this is another refund")
        return _read(refund_answer, refund)

    async def cancel(self, charge: Charge, reference: str) -> ChargeAnswer:
        """See `Provider`."""
        answer = await self._call("POST", f"/v3/payment_requests/{quote(reference, safe='')}/cancel", "{}")
        if not isinstance(answer, XenditError):
            return self._charged(charge, answer)
        state = await self.fetch(charge, reference)
        if isinstance(state, Refunded | RefundRefused):
            raise NoAnswer("a charge cannot be refunded yet")
        return state

    async def _earlier(self, refund: Refund, answer: XenditError) -> RefundAnswer:
        """Return what an earlier call has made of a refund: of this attempt, or of one taken for refused."""
        path = f"/refunds?payment_request_id={quote(refund.charge_id, safe='')}"
        listed = await self._call("GET", path)
        found = listed.get("data") if isinstance(listed, Mapping) else None
        if not isinstance(found, list):
            raise NoAnswer(answer.reason)
        made = [one for one in found if isinstance(one, Mapping)]
        done = [one for one in made if one.get("status") == "SUCCEEDED"]
        if done and sum(amount_of(one, "amount") or 0 for one in done) >= refund.amount:
            return _read(refund_answer, done[0])
        for one in made:
            if one.get("reference_id") == refund.key:
                return _read(refund_answer, one)
        if any(one.get("status") == "PENDING" for one in made) or answer.reason != "refund_amount_exceeded":
            raise NoAnswer(answer.reason)
        return RefundRefused(answer.reason)

    def _charged(self, charge: Charge, request: Json) -> ChargeAnswer:
        if not is_same(charge, request):
            log.error("another_payment", key=charge.key, reference=request.get("payment_request_id"))
            raise NoAnswer("this is another payment")
        return _read(charge_answer, request)

    async def _call(
        self, method: str, path: str, body: str | None = None, key: str = ""
    ) -> Json | XenditError:
        """Make a call; return what it says, or why it was refused.

        Raises:
            NoAnswer, ProviderDown: it says nothing of what was asked for.
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
                # What was asked for may have been done: it is asked for again later.
                raise self._failed(NoAnswer(type(error).__name__)) from error
            else:
                said = self._understood(response)
                if not isinstance(said, XenditError) or said.kind in ("refused", "earlier"):
                    self._in_vain, self._rest_until = 0, 0.0
                    return said
                if said.kind == "channel":
                    raise NoAnswer(said.reason)
                if said.kind == "fatal":
                    log.error("xendit_serves_nobody", status=response.status_code, reason=said.reason)
                    raise self._failed(ProviderDown(f"it serves none of our requests: {said.reason}"))
                if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                    raise self._limited(response)
                last = NoAnswer(said.reason)
            if attempt < TRIES:
                await asyncio.sleep(FIRST_PAUSE * 2 ** (attempt - 1) * self._dice.uniform(0.5, 1))
        raise self._failed(last)

    def _understood(self, response: httpx.Response) -> Json | XenditError:
        try:
            body = parse_json(response.content)
        except InvalidEvent:
            body = None
        if response.is_success and isinstance(body, Mapping):
            return body
        if not response.is_success:
            found = classify_error(response.status_code, body)
            said = body.get("message") if isinstance(body, Mapping) else None
            log.warning("xendit_error", status=response.status_code, reason=found.reason, message=said)
            return found
        return XenditError("again", "not_json")

    def _failed(self, error: NoAnswer) -> NoAnswer:
        """Remember that a call was in vain; after some, or at once where all must be, Xendit gets a rest."""
        self._in_vain += 1
        if isinstance(error, ProviderDown) or self._in_vain >= DOWN_AFTER:
            rest = min(FIRST_REST * 2 ** min(self._in_vain - 1, 10), LONGEST_REST)
            self._rest(rest * self._dice.uniform(0.5, 1), str(error))
        return error

    def _limited(self, response: httpx.Response) -> ProviderDown:
        """Rest until the limit of requests is lifted; see https://docs.xendit.co/apidocs/rate-limits."""
        try:
            seconds = float(response.headers.get("rate-limit-reset", FIRST_REST))
        except ValueError:
            seconds = FIRST_REST
        if not 0 <= seconds <= 2 * LONGEST_REST:
            seconds = LONGEST_REST
        self._rest(seconds, "too many requests")
        return ProviderDown("too many requests")

    def _rest(self, seconds: float, why: str) -> None:
        self._rest_until, self._why = self._time() + seconds, why


def _read(read: Callable[[Json], T], body: Json) -> T:
    try:
        return read(body)
    except ValueError as error:
        raise NoAnswer(f"not understood: {error}") from error
