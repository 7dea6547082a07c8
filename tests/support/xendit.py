"""A stand-in for Xendit's Payments API, written from its public documentation (see
`payment_service.providers.xendit.messages`), on a port of this machine.

What a payment request becomes depends on its channel or token:

    pt-good...      SUCCEEDED at once          pt-poor...     FAILED at once, CARD_DECLINED
    pt-bad...       refused: INVALID_TOKEN     anything else  REQUIRES_ACTION, until `pay`, `expire` or `fail`

A refund is PENDING until `decide_refund`, or as `refunds` says. `trouble` makes the next calls go wrong.
"""

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from local_stack.process import free_port, wait_until

KEY = "xnd_development_key-of-the-tests"
TOKEN = "token-of-the-tests"
VERSION = "2024-11-11"
NEEDED = ("reference_id", "type", "country", "currency", "request_amount")
Json = dict[str, Any]


class RequestRefused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@dataclass
class XenditError:
    """What goes wrong with a call: an answer with this status and code, or none for so many seconds; before
    the call has had its effect, or after."""

    status: int = 0
    code: str = ""
    silent: float = 0.0
    after: bool = False
    headers: dict[str, str] = field(default_factory=dict)


class StandIn:
    """Its books, and what a test may do with them."""

    def __init__(self) -> None:
        self.url = ""
        self.app = FastAPI()
        self.app.add_api_route("/{path:path}", self._serve, methods=["GET", "POST"])
        self.clear()

    def clear(self) -> None:
        """Forget every request and payment."""
        self.requests: dict[str, Json] = {}
        self.refunds_made: dict[str, Json] = {}
        self.trouble: list[XenditError] = []
        """What goes wrong with the next calls, one each."""
        self.refunds = "PENDING"
        """What a refund is at first; or the code that it is refused with."""
        self.idempotent = True
        """Whether a call with a known idempotency key gets the first answer again."""
        self.calls: list[tuple[str, str]] = []
        self._answers: dict[str, tuple[int, Json]] = {}

    def only(self) -> Json:
        """Return the only payment request there is."""
        (request,) = self.requests.values()
        return request

    def of(self, reference_id: str) -> list[Json]:
        """Return the payment requests made under a reference."""
        return [one for one in self.requests.values() if one["reference_id"] == reference_id]

    def pay(self, payment_request_id: str) -> None:
        """Let the customer pay."""
        self._becomes(payment_request_id, "SUCCEEDED")

    def expire(self, payment_request_id: str) -> None:
        """Let the time for it be over."""
        self._becomes(payment_request_id, "EXPIRED")

    def fail(self, payment_request_id: str, code: str) -> None:
        """Let the payment fail."""
        self._becomes(payment_request_id, "FAILED")
        self.requests[payment_request_id]["failure_code"] = code

    def decide_refund(self, status: str, code: str | None = None) -> Json:
        """Decide on the refund that is pending; return it."""
        (refund,) = [one for one in self.refunds_made.values() if one["status"] == "PENDING"]
        refund |= {"status": status, "failure_code": code}
        return refund

    def payment_event(self, request: Json, name: str = "payment.capture") -> Json:
        """Return the webhook that tells of a payment request."""
        data = {"payment_id": f"py-{uuid4()}", **request}
        return {"event": name, "business_id": "b-1", "created": _now(), "data": data}

    def refund_event(self, refund: Json) -> Json:
        """Return the webhook that tells of a refund, with its data where the documented example has it."""
        name = f"refund.{refund['status'].lower()}"
        event = {"event": name, "business_id": "b-1", "created": _now()}
        return {**event, "data": {**event, "data": refund}}

    def _becomes(self, payment_request_id: str, status: str) -> None:
        request = self.requests[payment_request_id]
        if request["status"] != "REQUIRES_ACTION":
            raise AssertionError(f"it is {request['status']} already")
        request["status"] = status

    async def _serve(self, request: Request, path: str) -> Response:
        self.calls.append((request.method, f"/{path}"))
        body = await request.body()
        trouble = self.trouble.pop(0) if self.trouble else XenditError()
        if not trouble.after and (spoilt := await self._spoil(trouble)):
            return spoilt
        try:
            status, answer = self._answer(request, path, json.loads(body) if body else {})
        except RequestRefused as error:
            status, answer = error.status, {"error_code": error.code, "message": "see the documentation"}
        if trouble.after and (spoilt := await self._spoil(trouble)):
            return spoilt
        return JSONResponse(answer, status)

    async def _spoil(self, trouble: XenditError) -> Response | None:
        if trouble.silent:
            await asyncio.sleep(trouble.silent)
            return Response(status_code=500)
        if trouble.status:
            body = {"error_code": trouble.code, "message": "see the documentation"} if trouble.code else None
            return JSONResponse(body, trouble.status, trouble.headers)
        return None

    def _answer(self, request: Request, path: str, body: Json) -> tuple[int, Json]:
        basic = base64.b64encode(f"{KEY}:".encode()).decode()
        if request.headers.get("authorization") != f"Basic {basic}":
            raise RequestRefused(401, "INVALID_API_KEY")
        key = request.headers.get("idempotency-key", "")
        if self.idempotent and key in self._answers:
            return self._answers[key]
        answer = self._route(request, path, body)
        if key:
            self._answers[key] = answer[0], dict(answer[1])
        return answer

    def _route(self, request: Request, path: str, body: Json) -> tuple[int, Json]:
        parts = path.split("/")
        if parts[0] == "v3" and request.headers.get("api-version") != VERSION:
            raise RequestRefused(400, "UNSUPPORTED_API_VERSION")
        match (request.method, parts):
            case ("POST", ["v3", "payment_requests"]):
                return 201, self._request(body)
            case ("GET", ["v3", "payment_requests", known]) if known in self.requests:
                return 200, self.requests[known]
            case ("POST", ["v3", "payment_requests", known, "cancel"]) if known in self.requests:
                if self.requests[known]["status"] != "REQUIRES_ACTION":
                    raise RequestRefused(400, "INELIGIBLE_TRANSACTION_STATUS")
                self._becomes(known, "CANCELED")
                return 200, self.requests[known]
            case ("POST", ["refunds"]):
                return 200, self._refund(body)
            case ("GET", ["refunds", known]) if known in self.refunds_made:
                return 200, self.refunds_made[known]
            case ("GET", ["refunds"]):
                wanted = request.query_params["payment_request_id"]
                made = [one for one in self.refunds_made.values() if one["payment_request_id"] == wanted]
                return 200, {"data": made, "has_more": False}
        raise RequestRefused(404, "DATA_NOT_FOUND")

    def _request(self, body: Json) -> Json:
        channel, token = body.get("channel_code"), str(body.get("payment_token_id") or "")
        if any(name not in body for name in NEEDED) or not (channel or token):
            raise RequestRefused(400, "API_VALIDATION_ERROR")
        expires_at = body.get("channel_properties", {}).get("expires_at")
        if expires_at and datetime.fromisoformat(expires_at) < datetime.now(UTC):
            raise RequestRefused(400, "API_VALIDATION_ERROR")
        if token.startswith("pt-bad"):
            raise RequestRefused(400, "INVALID_TOKEN")
        if self.of(body["reference_id"]):
            # Documented for cards: a reference is used once.
            raise RequestRefused(409, "DUPLICATE_ERROR")
        status = {"pt-good": "SUCCEEDED", "pt-poor": "FAILED"}.get(token[:7], "REQUIRES_ACTION")
        made = {**body, "payment_request_id": f"pr-{uuid4()}", "status": status, "created": _now()}
        if status == "FAILED":
            made["failure_code"] = "CARD_DECLINED"
        if status == "REQUIRES_ACTION":
            made["actions"] = [_action(str(channel), made["payment_request_id"])]
        self.requests[made["payment_request_id"]] = made
        return made

    def _refund(self, body: Json) -> Json:
        charged = self.requests.get(body["payment_request_id"])
        if charged is None or charged["status"] != "SUCCEEDED":
            raise RequestRefused(400, "INELIGIBLE_TRANSACTION_STATUS")
        made = [
            r for r in self.refunds_made.values() if r["payment_request_id"] == body["payment_request_id"]
        ]
        if any(one["status"] == "PENDING" for one in made):
            raise RequestRefused(400, "REFUND_IN_PROGRESS")
        back = sum(one["amount"] for one in made if one["status"] == "SUCCEEDED")
        if back + body["amount"] > charged["request_amount"]:
            raise RequestRefused(400, "REFUND_AMOUNT_EXCEEDED")
        if self.refunds not in ("PENDING", "SUCCEEDED", "FAILED"):
            raise RequestRefused(400, self.refunds)
        refund = {**body, "id": f"rfd-{uuid4()}", "status": self.refunds, "failure_code": None}
        if self.refunds == "FAILED":
            refund["failure_code"] = "REFUND_FAILED"
        self.refunds_made[refund["id"]] = refund
        return refund


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """Run the stand-in in a thread of its own, so that it answers whatever the test waits for."""
    xendit = StandIn()
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(xendit.app, host="127.0.0.1", port=port, log_config=None, lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started, 30, "the stand-in for Xendit answers")
        xendit.url = f"http://127.0.0.1:{port}"
        yield xendit
    finally:
        server.should_exit = server.force_exit = True
        thread.join(30)


def send(url: str, event: Json, token: str | None = TOKEN) -> httpx.Response:
    """Send a webhook as Xendit does."""
    headers = {"x-callback-token": token} if token is not None else {}
    return httpx.post(f"{url}/webhooks/xendit", json=event, headers=headers, timeout=30, trust_env=False)


def _action(channel: str, reference: str) -> Json:
    if channel.endswith("_VIRTUAL_ACCOUNT"):
        return {"type": "PRESENT_TO_CUSTOMER", "descriptor": "VIRTUAL_ACCOUNT_NUMBER", "value": "1251255"}
    return {"type": "REDIRECT_CUSTOMER", "descriptor": "WEB_URL", "value": f"https://pay.example/{reference}"}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
