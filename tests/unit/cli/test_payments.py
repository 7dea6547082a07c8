"""`saga payments`: what it prints, and its exit codes."""

import json

import httpx
import pytest

from cli import main
from operations.client import Json
from tests.support.command_line import Answer, one_line, runner

PAYMENT: Json = {
    "paymentId": "o-1",
    "status": "charging",
    "amount": "25.00",
    "currency": "USD",
    "userId": "u-1",
    "reason": None,
    "pending": "pr-1",
    "actions": [{"kind": "redirect", "name": "web_url", "value": "https://pay.example/1"}],
    "refundAttempt": 0,
}


def test_show_prints_what_the_customer_has_to_do(answer: Answer) -> None:
    answer(lambda request: httpx.Response(200, json=PAYMENT))
    result = runner.invoke(main.app, ["payments", "show", "o-1"])
    assert result.exit_code == 0
    assert "status:    charging" in result.stdout
    assert "to do:     redirect web_url: https://pay.example/1" in result.stdout
    as_json = runner.invoke(main.app, ["payments", "show", "o-1", "--json"])
    assert json.loads(as_json.stdout) == PAYMENT


@pytest.mark.parametrize(
    ("states", "code", "message"),
    [
        (["refunded"], 0, ""),
        (["refundFailed"], 1, "rejects the refund: balance too low"),
        (["refunding"] * 99, 1, "saga payments show o-1"),
        (["refunding", "refunding", "refunded"], 0, ""),
    ],
    ids=["settled", "refused", "not decided in time", "decided in time"],
)
def test_refund_exits_with_0_only_if_refunded(
    states: list[str], code: int, message: str, answer: Answer
) -> None:
    asked, left = list[str](), iter(states)

    def services(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        status = next(left)
        return httpx.Response(202, json={**PAYMENT, "status": status, "reason": "balance too low"})

    answer(services)
    result = runner.invoke(main.app, ["payments", "refund", "o-1", "--wait", "1", "--json"])
    assert result.exit_code == code
    assert json.loads(result.stdout)["status"] == states[len(asked) - 1]
    assert message in result.stderr
    assert asked[0] == "POST /payments/o-1/refund"
    assert set(asked[1:]) <= {"GET /payments/o-1"}


def test_rejected_refund_is_one_line(answer: Answer) -> None:
    problem = {"title": "Conflict", "status": 409, "detail": "the payment belongs to a saga"}
    answer(lambda request: httpx.Response(409, json=problem))
    result = runner.invoke(main.app, ["payments", "refund", "o-1"])
    assert result.exit_code == 1
    assert one_line(result.stderr) == "saga: Conflict: the payment belongs to a saga\n"
