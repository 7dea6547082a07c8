"""Who may call a route: tokens, scopes, webhooks, rate limits."""

from collections.abc import AsyncIterator

import pytest

from saga.http.app import create_app, protect
from saga.http.auth import parse
from saga.http.security import needs
from tests.support.http_api import SHOP, STRANGER, TOKENS, WAREHOUSE, already_prepared, api, client, post
from tests.support.services import check_problem


async def test_a_token_with_the_scope_is_accepted() -> None:
    answer = await post(api(), "/orders", f"Bearer {SHOP}")
    assert (answer.status_code, answer.json()) == (200, {"length": 3, "scopes": ["orders"]})
    assert (await post(api(), "/orders", f"bearer {SHOP}")).status_code == 200


@pytest.mark.parametrize("shown", [None, "", SHOP, f"Basic {SHOP}", "Bearer", "Bearer "])
async def test_a_call_without_a_token_is_rejected(shown: str | None) -> None:
    answer = await post(api(), "/orders", shown)
    check_problem(answer, 401)
    assert answer.headers["www-authenticate"] == 'Bearer realm="saga"'
    assert "orders" in answer.json()["detail"]


@pytest.mark.parametrize("token", [STRANGER, SHOP[:-1], f"{SHOP}, {WAREHOUSE}"])
async def test_an_unknown_token_is_rejected_and_not_repeated(token: str) -> None:
    answer = await post(api(), "/orders", f"Bearer {token}")
    check_problem(answer, 401)
    assert answer.headers["www-authenticate"] == 'Bearer realm="saga", error="invalid_token"'
    assert token not in answer.text


async def test_a_token_with_another_scope_is_rejected() -> None:
    answer = await post(api(), "/orders", f"Bearer {WAREHOUSE}")
    check_problem(answer, 403)
    assert answer.headers["www-authenticate"] == (
        'Bearer realm="saga", error="insufficient_scope", scope="orders"'
    )


async def test_a_service_without_tokens_is_open() -> None:
    answer = await post(api(tokens=""), "/orders")
    assert answer.json()["scopes"] == ["operate", "orders", "payments", "stock"]


async def test_open_routes_and_webhooks_need_no_bearer_token() -> None:
    app = api()
    async with client(app) as http:
        assert (await http.get("/open")).status_code == 200
    assert (await post(app, "/webhooks/test", headers={"x-callback-token": "its own"})).status_code == 200
    check_problem(await post(app, "/webhooks/test", f"Bearer {SHOP}"), 401)


def test_a_route_without_a_declaration_is_not_served() -> None:
    app = create_app("Test", "For tests.")

    @app.get("/forgotten")
    async def forgotten() -> dict[str, str]:
        return {}

    with pytest.raises(ValueError, match="/forgotten does not declare who may call it"):
        protect(app, parse(TOKENS), already_prepared())


async def test_an_unprotected_application_rejects_every_call() -> None:
    app = create_app("Test", "For tests.")
    app.get("/orders", openapi_extra=needs("orders"))(lambda: {})
    async with client(app) as http:
        assert (await http.get("/orders")).status_code == 500


async def test_the_token_is_checked_before_the_body_is_read() -> None:
    async def body() -> AsyncIterator[bytes]:
        raise AssertionError("the body of a stranger was read")
        yield b""

    check_problem(await post(api(), "/orders", json=None, content=body()), 401)


async def test_too_many_requests_are_answered_with_retry_after() -> None:
    app = api()
    answers = [await post(app, "/limited", f"Bearer {SHOP}") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    check_problem(answers[2], 429)
    assert answers[2].headers["retry-after"] == "1"


def test_the_document_declares_what_is_enforced() -> None:
    document = api().openapi()
    paths = document["paths"]
    assert paths["/orders"]["post"]["security"] == [{"bearer": ["orders"]}]
    assert paths["/open"]["get"]["security"] == []
    assert paths["/webhooks/test"]["post"]["security"] == [{"x-callback-token": []}]
    schemes = document["components"]["securitySchemes"]
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    assert schemes["x-callback-token"] == {"type": "apiKey", "in": "header", "name": "x-callback-token"}
