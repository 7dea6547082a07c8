"""The frame of every HTTP API: who is let in, how much may be sent, what errors look like."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, Request

from events.values import Model
from saga.http.app import HEALTH, create_app, protect
from saga.http.auth import parse
from saga.http.body_limit import MAX_BODY
from saga.http.problems import Problem
from saga.http.rate_limit import RateLimit
from saga.http.security import OPEN, caller_of, needs, own_token
from tests.support.services import check_problem

SHOP, WAREHOUSE, STRANGER = ("shop-" * 5, "warehouse-" * 3, "stranger-" * 3)
TOKENS = f"orders:{SHOP} stock:{WAREHOUSE}"
JSON = {"content-type": "application/json"}
LIMIT = 20.0


class Parcel(Model):
    """Anything."""

    content: str


def at_once() -> asyncio.Event:
    """Return what says that the database is prepared."""
    prepared = asyncio.Event()
    prepared.set()
    return prepared


def api(tokens: str = TOKENS, prepared: asyncio.Event | None = None) -> FastAPI:
    """Return an application with a route of each kind."""
    app = create_app("Test", "For tests.")

    @app.get("/open", openapi_extra=OPEN)
    async def open_() -> dict[str, str]:
        return {}

    @app.post("/orders", openapi_extra=needs("orders"))
    async def order(parcel: Parcel, request: Request) -> dict[str, Any]:
        return {"length": len(parcel.content), "scopes": sorted(caller_of(request).scopes)}

    @app.get("/orders", openapi_extra=needs("orders"))
    async def orders() -> dict[str, str]:
        return {}

    @app.post(
        "/paced", openapi_extra=needs("orders"), dependencies=[Depends(RateLimit(1, 2, clock=lambda: 0))]
    )
    async def paced() -> dict[str, str]:
        return {}

    @app.post("/webhooks/test", openapi_extra=own_token("x-callback-token"))
    async def webhook(x_callback_token: Annotated[str, Header()] = "") -> dict[str, str]:
        if x_callback_token != "its own":
            raise Problem(401, "not the token of this webhook")
        return {}

    @app.get("/health", openapi_extra=OPEN, tags=[HEALTH])
    async def health() -> dict[str, str]:
        return {}

    protect(app, parse(tokens), prepared or at_once())
    return app


def client(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def post(app: FastAPI, path: str, token: str | None = None, **sent: Any) -> httpx.Response:
    headers = {} if token is None else {"Authorization": token}
    sent.setdefault("json", {"content": "tea"})
    async with asyncio.timeout(LIMIT), client(app) as http:
        return await http.post(path, headers=headers | sent.pop("headers", {}), **sent)


async def test_a_token_of_the_scope_lets_in() -> None:
    answer = await post(api(), "/orders", f"Bearer {SHOP}")
    assert (answer.status_code, answer.json()) == (200, {"length": 3, "scopes": ["orders"]})
    assert (await post(api(), "/orders", f"bearer {SHOP}")).status_code == 200


@pytest.mark.parametrize("shown", [None, "", SHOP, f"Basic {SHOP}", "Bearer", "Bearer "])
async def test_without_a_token_nobody_is_let_in(shown: str | None) -> None:
    answer = await post(api(), "/orders", shown)
    check_problem(answer, 401)
    assert answer.headers["www-authenticate"] == 'Bearer realm="saga"'
    assert "orders" in answer.json()["detail"]


@pytest.mark.parametrize("token", [STRANGER, SHOP[:-1], f"{SHOP}, {WAREHOUSE}"])
async def test_an_unknown_token_is_refused_and_not_repeated(token: str) -> None:
    answer = await post(api(), "/orders", f"Bearer {token}")
    check_problem(answer, 401)
    assert answer.headers["www-authenticate"] == 'Bearer realm="saga", error="invalid_token"'
    assert token not in answer.text


async def test_a_token_of_another_scope_is_refused() -> None:
    answer = await post(api(), "/orders", f"Bearer {WAREHOUSE}")
    check_problem(answer, 403)
    assert answer.headers["www-authenticate"] == (
        'Bearer realm="saga", error="insufficient_scope", scope="orders"'
    )


async def test_without_tokens_everybody_is_let_in() -> None:
    answer = await post(api(tokens=""), "/orders")
    assert answer.json()["scopes"] == ["operate", "orders", "payments", "stock"]


async def test_an_open_route_asks_nobody_and_a_webhook_only_for_its_own_token() -> None:
    app = api()
    async with client(app) as http:
        assert (await http.get("/open")).status_code == 200
    assert (await post(app, "/webhooks/test", headers={"x-callback-token": "its own"})).status_code == 200
    check_problem(await post(app, "/webhooks/test", f"Bearer {SHOP}"), 401)


def test_a_route_that_does_not_say_who_may_call_it_is_not_served() -> None:
    app = create_app("Test", "For tests.")

    @app.get("/forgotten")
    async def forgotten() -> dict[str, str]:
        return {}

    with pytest.raises(ValueError, match="/forgotten does not declare who may call it"):
        protect(app, parse(TOKENS), at_once())


async def test_requests_wait_until_the_database_is_prepared_and_health_does_not() -> None:
    prepared = asyncio.Event()
    app = api(prepared=prepared)
    async with asyncio.timeout(LIMIT), client(app) as http:
        waiting = asyncio.create_task(http.get("/open"))
        assert (await http.get("/health")).status_code == 200
        for _ in range(100):  # Whatever does not wait is answered by then.
            await asyncio.sleep(0)
        assert not waiting.done()
        prepared.set()
        assert (await waiting).status_code == 200


async def test_a_request_waits_for_the_database_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saga.http.app.PREPARED_WITHIN", 0.01)
    async with asyncio.timeout(LIMIT), client(api(prepared=asyncio.Event())) as http:
        answer = await http.get("/open")
    check_problem(answer, 503)
    assert "not prepared yet" in answer.json()["detail"]
    assert answer.headers["retry-after"] == "1"


async def test_what_was_never_protected_lets_nobody_in() -> None:
    app = create_app("Test", "For tests.")
    app.get("/orders", openapi_extra=needs("orders"))(lambda: {})
    async with client(app) as http:
        assert (await http.get("/orders")).status_code == 500


async def test_the_token_is_looked_at_before_the_body() -> None:
    async def body() -> AsyncIterator[bytes]:
        raise AssertionError("the body of a stranger was read")
        yield b""

    check_problem(await post(api(), "/orders", json=None, content=body()), 401)


def parcel(length: int) -> bytes:
    empty = b'{"content":""}'
    return empty[:-2] + b"x" * (length - len(empty)) + empty[-2:]


async def test_a_body_as_long_as_allowed_is_read() -> None:
    answer = await post(api(), "/orders", f"Bearer {SHOP}", json=None, content=parcel(MAX_BODY), headers=JSON)
    assert (answer.status_code, answer.json()["length"]) == (200, MAX_BODY - 14)


async def test_a_longer_body_is_refused() -> None:
    answer = await post(
        api(), "/orders", f"Bearer {SHOP}", json=None, content=parcel(MAX_BODY + 1), headers=JSON
    )
    check_problem(answer, 413)


async def test_a_body_that_says_how_long_it_is_is_not_even_read() -> None:
    async def body() -> AsyncIterator[bytes]:
        raise AssertionError("a body that is too long was read")
        yield b""

    headers = JSON | {"content-length": str(MAX_BODY + 1)}
    answer = await post(api(), "/orders", f"Bearer {SHOP}", json=None, content=body(), headers=headers)
    check_problem(answer, 413)


async def test_a_longer_body_that_does_not_say_so_is_refused_as_soon_as_it_is_too_long() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 * MAX_BODY:
            sent += 10_000
            yield b"x" * 10_000

    answer = await post(api(), "/orders", f"Bearer {SHOP}", json=None, content=endless(), headers=JSON)
    check_problem(answer, 413)
    assert sent <= MAX_BODY + 10_000


async def test_who_is_too_fast_is_told_when_to_come_again() -> None:
    app = api()
    answers = [await post(app, "/paced", f"Bearer {SHOP}") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    check_problem(answers[2], 429)
    assert answers[2].headers["retry-after"] == "1"


async def test_a_wrong_method_says_which_are_right() -> None:
    async with client(api()) as http:
        answer = await http.delete("/orders")
    check_problem(answer, 405)
    assert answer.headers["allow"] == "GET, POST"


def test_the_document_declares_what_is_enforced() -> None:
    document = api().openapi()
    paths = document["paths"]
    assert paths["/orders"]["post"]["security"] == [{"bearer": ["orders"]}]
    assert paths["/open"]["get"]["security"] == []
    assert paths["/webhooks/test"]["post"]["security"] == [{"x-callback-token": []}]
    schemes = document["components"]["securitySchemes"]
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    assert schemes["x-callback-token"] == {"type": "apiKey", "in": "header", "name": "x-callback-token"}


def test_the_document_says_that_errors_are_problems() -> None:
    content = api().openapi()["paths"]["/orders"]["post"]["responses"]["default"]["content"]
    assert list(content) == ["application/problem+json"]
