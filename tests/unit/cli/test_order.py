"""`saga order`: what it accepts, sends and prints."""

import json
import re

import httpx
import pytest
import typer

from cli import main, order
from operations.client import Json
from tests.support.command_line import ORDER, Answer, one_line, runner


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("tea:2", {"productId": "tea", "quantity": 2}),
        ("tea:2@berlin", {"productId": "tea", "quantity": 2, "warehouseId": "berlin"}),
    ],
)
def test_item_is_parsed(text: str, item: Json) -> None:
    assert order.parse_item(text) == item


@pytest.mark.parametrize("text", ["tea", "tea:", ":2", "tea:two", "tea:-1", "tea:1.5", "tea:2@", "tea:²", ""])
def test_malformed_item_is_rejected(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="SKU:QTY"):
        order.parse_item(text)


@pytest.mark.parametrize("text", ["52.5", "52.5;13.4", "a,b", "1,2,3"])
def test_malformed_location_is_rejected(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="LAT,LON"):
        order.parse_location(text)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--item", "tea", "--total", "5"], "--item"),
        (["--item", "tea:0", "--total", "5"], "items.0.quantity"),
        (["--item", "a/b:1", "--total", "5"], "items.0.productId"),
        (["--item", "tea:1", "--total", "free"], "totalAmount"),
        (["--item", "tea:1", "--total", "0"], "totalAmount"),
        (["--item", "tea:1", "--total", "5", "--currency", "euro"], "currency"),
        (["--item", "tea:1", "--total", "5", "--near", "here"], "--near"),
        (["--item", "tea:1", "--total", "5", "--near", "91,0"], "userLocation.latitude"),
        (["--item", "tea:1", "--total", "5", "--expires-in", "0"], "expiresIn"),
        (["--item", "tea:1", "--total", "5", "--expires-in", "soon"], "--expires-in"),
        (["--item", "tea:1", "--total", "5", "--user", "me@home"], "userId"),
        (["--item", "tea:1", "--total", "5", "--payment-method", "my card"], "paymentMethod"),
        (["--total", "5"], "--item"),
        (["--item", "tea:1"], "--total"),
    ],
)
def test_invalid_option_is_named(options: list[str], named: str) -> None:
    result = runner.invoke(main.app, ["order", "place", *options])
    assert result.exit_code == 2
    assert named in result.stderr


def test_place_sends_its_options(answer: Answer) -> None:
    requests: list[httpx.Request] = []

    def accept(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(202, json={**ORDER, "status": "pending"})

    answer(accept)
    options = "--item tea:2@berlin --total 25.00 --user u-1 --near -33.9,151.2 --idempotency-key k-1 --json"
    result = runner.invoke(main.app, ["order", "place", *options.split()])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["status"] == "pending"
    assert requests[0].headers["Idempotency-Key"] == "k-1"
    assert json.loads(requests[0].content) == {
        "userId": "u-1",
        "items": [{"productId": "tea", "quantity": 2, "warehouseId": "berlin"}],
        "totalAmount": "25.00",
        "userLocation": {"latitude": -33.9, "longitude": 151.2},
    }


def test_place_waits_for_the_end(answer: Answer) -> None:
    def serve(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={**ORDER, "status": "confirmed" if request.url.params else "pending"})

    answer(serve)
    result = runner.invoke(main.app, ["order", "place", "--item", "tea:2", "--total", "25", "--wait", "5"])
    assert result.exit_code == 0
    assert re.search(r"^status: +confirmed$", result.stdout, re.MULTILINE)


def test_show_exits_with_1_if_the_order_does_not_end(answer: Answer) -> None:
    stuck = {**ORDER, "status": "reserved", "awaiting": ["PaymentCompleted"]}
    answer(lambda _: httpx.Response(200, json=stuck))
    result = runner.invoke(main.app, ["order", "show", "o-1", "--wait", "0.2"])
    assert result.exit_code == 1
    assert "o-1 is still reserved after 0.2 s and awaits PaymentCompleted" in one_line(result.stderr)


def test_show_leaves_out_empty_fields(answer: Answer) -> None:
    answer(lambda _: httpx.Response(200, json=ORDER))
    result = runner.invoke(main.app, ["order", "show", "o-1"])
    assert result.exit_code == 0
    assert "2 x tea" in result.stdout
    assert "25.00 USD" in result.stdout
    assert "reason" not in result.stdout


def test_place_retries_after_too_many_requests(answer: Answer) -> None:
    slow_down = httpx.Response(
        429, json={"title": "Too Many Requests", "status": 429}, headers={"Retry-After": "0"}
    )
    answers = iter([slow_down, slow_down, httpx.Response(202, json={**ORDER, "status": "pending"})])
    answer(lambda _: next(answers))
    result = runner.invoke(main.app, ["order", "place", "--item", "tea:1", "--total", "1", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["status"] == "pending"
