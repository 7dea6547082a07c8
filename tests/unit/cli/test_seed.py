"""`saga seed`: what it creates and what it leaves."""

import httpx

from cli import main
from tests.support.command_line import Answer, runner


def test_existing_levels_stay_unless_restocked(answer: Answer) -> None:
    there = {"warehouseId": "berlin", "productId": "tea", "available": 1, "reserved": 0, "allocated": 9}
    put: list[str] = []

    def serve(request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            put.append(request.url.path)
        return httpx.Response(200, json={"stock": [there]})

    answer(serve)
    assert runner.invoke(main.app, ["seed"]).exit_code == 0
    assert "/warehouses" in put
    assert "/stock/madrid/tea" in put
    assert "/stock/berlin/tea" not in put
    assert runner.invoke(main.app, ["seed", "--restock"]).exit_code == 0
    assert "/stock/berlin/tea" in put
