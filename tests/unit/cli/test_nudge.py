"""`saga nudge`: what it asks for and prints."""

import json

import httpx

from cli import main
from tests.support.command_line import Answer, runner


def test_nudge_prints_each_repeated_request(answer: Answer) -> None:
    asked = [{"orderId": "o-1", "type": "PaymentRequested"}]
    paths: list[str] = []

    def serve(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        return httpx.Response(202, json={"published": asked})

    answer(serve)
    everybody = runner.invoke(main.app, ["nudge", "--json"])
    assert json.loads(everybody.stdout) == asked
    two = runner.invoke(main.app, ["nudge", "o-1", "o-2"])
    assert two.stdout.splitlines() == ["o-1  PaymentRequested"] * 2
    assert "2 requests of 1 orders" in two.stderr
    assert paths == ["/nudge", "/orders/o-1/nudge", "/orders/o-2/nudge"]
