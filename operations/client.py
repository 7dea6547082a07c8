"""A thin HTTP client of the services; errors become one line that says what to do."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx

from operations.endpoints import Endpoints
from operations.errors import CommandFailed
from order_service.order import TERMINAL

Json = dict[str, Any]
T = TypeVar("T")

ANSWER_SECONDS = 15.0
"""Seconds a service may take to answer, in addition to the wait that a request asks for."""
NUDGE_SECONDS = 120.0
"""Seconds a nudge of all orders may take."""
LONG_POLL_SECONDS = 10.0
POLL_SECONDS = 0.1
PLACE_SECONDS = 60.0
"""Seconds for which an order is retried while the service accepts none."""
NOT_NOW = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
"""The answers after which an order is placed again."""
TOKEN_VARIABLE = "SAGA_TOKEN"  # noqa: S105 (a name)
"""The environment variable with the bearer token of the services."""


class RequestFailed(CommandFailed):
    """A service answered with an error: its HTTP status, and its Retry-After in seconds."""

    def __init__(self, message: str, status: int, retry_after: float = 0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class SagaClient:
    """The three services; an async context manager that closes its connections."""

    def __init__(
        self,
        endpoints: Endpoints,
        transport: httpx.AsyncBaseTransport | None = None,
        token: str | None = None,
    ) -> None:
        """Call the services with a token, by default that of SAGA_TOKEN."""
        self._at = endpoints
        headers = _authorization(os.environ.get(TOKEN_VARIABLE, "") if token is None else token)
        self._http = httpx.AsyncClient(transport=transport, trust_env=False, headers=headers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def ready(self, within: float) -> None:
        """Wait until every service is ready.

        Raises:
            CommandFailed: a service is not ready after `within` seconds; says which and why.
        """
        deadline = monotonic() + within
        for base in (self._at.order, self._at.inventory, self._at.payment):
            while True:
                try:
                    await self._call("GET", base, "/readyz")
                    break
                except CommandFailed:
                    if monotonic() >= deadline:
                        raise
                await asyncio.sleep(POLL_SECONDS)

    async def place(self, order: Json, idempotency_key: str | None = None) -> Json:
        """Place an order, again after each answer 429 or 503; return the accepted order."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        deadline = monotonic() + PLACE_SECONDS
        while True:
            try:
                return await self._call("POST", self._at.order, "/orders", json=order, headers=headers)
            except RequestFailed as error:
                if error.status not in NOT_NOW or monotonic() > deadline:
                    raise
                await asyncio.sleep(error.retry_after)

    async def order(self, order_id: str, wait: float = 0) -> Json:
        """Return an order, once it has ended or after `wait` seconds."""
        params = {"wait": f"{wait:.3f}"} if wait > 0 else {}
        return await self._call(
            "GET",
            self._at.order,
            f"/orders/{quote(order_id, safe='')}",
            params=params,
            timeout=wait + ANSWER_SECONDS,
        )

    async def ended(self, order_id: str, within: float) -> Json:
        """Wait until an order has ended, even if no service knows it yet; return it.

        Raises:
            CommandFailed: it has not ended after `within` seconds; has the order's status.
        """
        deadline = monotonic() + within
        while True:
            left = max(deadline - monotonic(), 0)
            order = await _if_known(self.order(order_id, min(left, LONG_POLL_SECONDS)))
            if order is not None and order["status"] in TERMINAL:
                return order
            if monotonic() >= deadline:
                raise CommandFailed(_unfinished(order_id, order, within))
            await asyncio.sleep(POLL_SECONDS)

    async def cancel(self, order_id: str) -> Json:
        """Ask for an order to be cancelled; return it."""
        return await self._call("POST", self._at.order, f"/orders/{quote(order_id, safe='')}/cancel")

    async def payment(self, payment_id: str) -> Json:
        """Return a payment."""
        return await self._call("GET", self._at.payment, f"/payments/{quote(payment_id, safe='')}")

    async def payment_if_known(self, payment_id: str) -> Json | None:
        """Return a payment, None if the service knows none."""
        return await _if_known(self.payment(payment_id))

    async def payment_started(self, payment_id: str, within: float) -> Json:
        """Wait until the payment service knows a payment; return it.

        Raises:
            CommandFailed: after `within` seconds it still does not.
        """
        return await self._payment(payment_id, within, "known", lambda it: True)

    async def payment_pending(self, payment_id: str, within: float) -> Json:
        """Wait until a customer can make a payment; return it.

        Raises:
            CommandFailed: after `within` seconds there is still nothing to pay.
        """
        return await self._payment(
            payment_id, within, "pending", lambda payment: bool(payment.get("pending"))
        )

    async def _payment(
        self, payment_id: str, within: float, what: str, holds: Callable[[Json], bool]
    ) -> Json:
        end = monotonic() + within
        while True:
            payment = await self.payment_if_known(payment_id)
            if payment and holds(payment):
                return payment
            if monotonic() >= end:
                raise CommandFailed(f"the payment {payment_id} is not {what} after {within:g} s")
            await asyncio.sleep(POLL_SECONDS)

    async def refund(self, payment_id: str) -> Json:
        """Refund a payment that belongs to no saga, or retry a rejected refund; return the payment."""
        return await self._call("POST", self._at.payment, f"/payments/{quote(payment_id, safe='')}/refund")

    async def nudge(self, order_id: str | None = None) -> list[Json]:
        """Publish again the unanswered requests of an order, or of all orders; return what was published."""
        path = "/nudge" if order_id is None else f"/orders/{quote(order_id, safe='')}/nudge"
        return _list(await self._call("POST", self._at.order, path, timeout=NUDGE_SECONDS), "published")

    async def stock(self, product_id: str | None = None, warehouse_id: str | None = None) -> list[Json]:
        """Return the stock levels, of one product or warehouse if named."""
        wanted = {"productId": product_id, "warehouseId": warehouse_id}
        params = {name: value for name, value in wanted.items() if value is not None}
        return _list(await self._call("GET", self._at.inventory, "/stock", params=params), "stock")

    async def set_stock(
        self, warehouse_id: str, product_id: str, available: int, version: int | None = None
    ) -> Json:
        """Set the available units, with a version only if the level still has it; return the level."""
        path = f"/stock/{quote(warehouse_id, safe='')}/{quote(product_id, safe='')}"
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        return await self._call(
            "PUT", self._at.inventory, path, json={"available": available}, headers=headers
        )

    async def put_warehouses(self, warehouses: Sequence[Json]) -> None:
        """Create warehouses, or change existing ones."""
        await self._call("PUT", self._at.inventory, "/warehouses", json={"warehouses": list(warehouses)})

    async def _call(
        self,
        method: str,
        base: str,
        path: str,
        *,
        json: Json | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = ANSWER_SECONDS,
    ) -> Json:
        try:
            response = await self._http.request(
                method, base + path, json=json, params=params, headers=headers, timeout=timeout
            )
        except httpx.TimeoutException:
            raise CommandFailed(
                f"{base} did not answer within {timeout:.0f} s; see what {base}/readyz says"
            ) from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise CommandFailed(unreachable(base, error)) from None
        return _body(response, base)


async def _if_known(request: Awaitable[Json]) -> Json | None:
    try:
        return await request
    except RequestFailed as error:
        if error.status == httpx.codes.NOT_FOUND:
            return None
        raise


def _authorization(token: str) -> dict[str, str]:
    token = token.strip()
    if not re.fullmatch(r"[!-~]*", token):
        raise CommandFailed(
            f"{TOKEN_VARIABLE} is not a token: only letters, digits and signs of ASCII are allowed"
        )
    return {"Authorization": f"Bearer {token}"} if token else {}


def unreachable(url: str, error: Exception) -> str:
    """Say that nothing answers at a URL, and what to do."""
    cause = str(error) or type(error).__name__
    return f"cannot reach {url} ({cause}): is the stack up? start it with `saga up`"


def _body(response: httpx.Response, base: str) -> Json:
    try:
        body = response.json()
    except ValueError:
        body = None
    if not response.is_success:
        pause = response.headers.get("retry-after", "")
        raise RequestFailed(
            _problem(response, body, base), response.status_code, int(pause) if pause.isdecimal() else 0
        )
    if not isinstance(body, dict):
        raise CommandFailed(f"{base} did not answer with a JSON object: is it one of the services?")
    return body


def _problem(response: httpx.Response, body: object, base: str) -> str:
    """Return the problem details of an answer (RFC 9457), or the problems of `/readyz`, in one line."""
    problem = body if isinstance(body, dict) else {}
    wrong_fields = [f"{error.get('field')}: {error.get('message')}" for error in problem.get("errors") or ()]
    details = "; ".join(wrong_fields) or problem.get("detail") or "; ".join(problem.get("problems") or ())
    title = problem.get("title") or f"{response.status_code} {response.reason_phrase}"
    text = f"{title}: {details}" if details else title
    return f"{base} answered {text}" if response.is_server_error or not problem else text


def _list(body: Json, name: str) -> list[Json]:
    found = body.get(name)
    if not isinstance(found, list):
        raise CommandFailed(
            f'the answer lacks "{name}": do the services and this command have the same version?'
        )
    return found


def _unfinished(order_id: str, order: Json | None, within: float) -> str:
    if order is None:
        return (
            f"order {order_id} is unknown after {within:g} s: was its event published? is every service up?"
        )
    awaiting = ", ".join(map(str, order.get("awaiting") or ()))
    awaited = f" and awaits {awaiting}" if awaiting else ""
    return f"order {order_id} is still {order['status']} after {within:g} s{awaited}"
