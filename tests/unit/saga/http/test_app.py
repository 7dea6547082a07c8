"""The HTTP application: what waits for the database, methods, the OpenAPI document."""

import asyncio

import pytest

from tests.support.http_api import (
    LIMIT,
    api,
    client,
)
from tests.support.services import check_problem


async def test_only_health_answers_before_the_database_is_prepared() -> None:
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


async def test_a_request_waits_a_limited_time_for_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saga.http.app.PREPARED_WITHIN", 0.01)
    async with asyncio.timeout(LIMIT), client(api(prepared=asyncio.Event())) as http:
        answer = await http.get("/open")
    check_problem(answer, 503)
    assert "not prepared yet" in answer.json()["detail"]
    assert answer.headers["retry-after"] == "1"


async def test_a_wrong_method_is_answered_with_the_right_ones() -> None:
    async with client(api()) as http:
        answer = await http.delete("/orders")
    check_problem(answer, 405)
    assert answer.headers["allow"] == "GET, POST"


def test_the_document_declares_problems_as_errors() -> None:
    content = api().openapi()["paths"]["/orders"]["post"]["responses"]["default"]["content"]
    assert list(content) == ["application/problem+json"]
