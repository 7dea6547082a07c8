"""How a command fails: in one line on stderr that says what to do, and with exit code 1."""

import httpx
import pytest

from cli import main
from tests.support.command_line import ORDER, UNREACHABLE, Answer, one_line, runner


def test_token_of_the_environment_is_sent(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str | None] = []

    def serve(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("authorization"))
        return httpx.Response(200, json=ORDER)

    answer(serve)
    runner.invoke(main.app, ["order", "show", "o-1"])
    monkeypatch.setenv("SAGA_TOKEN", "a-token\n")
    runner.invoke(main.app, ["order", "show", "o-1"])
    assert sent == [None, "Bearer a-token"]


@pytest.mark.parametrize("token", ["two words", "one\ntwo", "schlüssel"])
def test_invalid_token_is_reported_and_not_printed(
    token: str, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(lambda _: httpx.Response(200, json=ORDER))
    monkeypatch.setenv("SAGA_TOKEN", token)
    result = runner.invoke(main.app, ["order", "show", "o-1"])
    assert result.exit_code == 1
    line = one_line(result.stderr)
    assert "SAGA_TOKEN is not a token" in line
    assert token.split()[0] not in line


def test_rejection_is_one_line(answer: Answer) -> None:
    problem = {"title": "Conflict", "status": 409, "detail": "order o-1 is paid"}
    answer(lambda _: httpx.Response(409, json=problem))
    result = runner.invoke(main.app, ["order", "cancel", "o-1"])
    assert result.exit_code == 1
    assert one_line(result.stderr) == "saga: Conflict: order o-1 is paid\n"


def test_rejected_field_is_named(answer: Answer) -> None:
    errors = [{"field": "available", "message": "must be less"}]
    answer(lambda _: httpx.Response(422, json={"title": "Unprocessable", "status": 422, "errors": errors}))
    result = runner.invoke(main.app, ["stock", "set", "berlin", "tea", "5"])
    assert result.exit_code == 1
    assert "available: must be less" in one_line(result.stderr)


def test_answer_of_another_server_is_recognized(answer: Answer) -> None:
    answer(lambda _: httpx.Response(200, text="<html>"))
    result = runner.invoke(main.app, ["order", "show", "o-1"])
    assert result.exit_code == 1
    assert "is it one of the services?" in one_line(result.stderr)


@pytest.mark.parametrize("command", [["order", "show", "o-1"], ["stock", "show"], ["seed"]])
def test_unreachable_service_suggests_saga_up(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ORDER_URL", "INVENTORY_URL"):
        monkeypatch.setenv(name, UNREACHABLE)
    result = runner.invoke(main.app, command)
    assert result.exit_code == 1
    assert "saga up" in one_line(result.stderr)
