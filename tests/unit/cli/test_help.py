"""Every command explains itself, and an unforeseen error is one line."""

import pytest

from cli import main
from tests.support.command_line import one_line, runner

COMMANDS = [
    [],
    ["up"],
    ["demo"],
    ["audit"],
    ["chaos"],
    ["bench"],
    ["publish"],
    ["seed"],
    ["flow"],
    ["search"],
    ["nudge"],
    ["database"],
    ["database", "users"],
    ["broker"],
    ["broker", "definitions"],
    ["order"],
    ["order", "place"],
    ["order", "show"],
    ["order", "cancel"],
    ["order", "watch"],
    ["stock"],
    ["stock", "show"],
    ["stock", "set"],
    ["stock", "export"],
    ["stock", "import"],
    ["payments"],
    ["payments", "show"],
    ["payments", "refund"],
    ["dead-letters"],
    ["dead-letters", "list"],
    ["dead-letters", "show"],
    ["dead-letters", "replay"],
    ["dead-letters", "drop"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: list[str]) -> None:
    result = runner.invoke(main.app, [*command, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith("Usage:")


@pytest.mark.parametrize(
    "command",
    [
        "bench",
        "demo",
        "publish",
        "order place",
        "order watch",
        "stock set",
        "seed",
        "nudge",
        "payments show",
        "payments refund",
        "dead-letters replay",
    ],
)
def test_examples_are_given(command: str) -> None:
    result = runner.invoke(main.app, [*command.split(), "--help"])
    assert f"saga {command}" in result.output


def test_unknown_command_is_a_usage_error() -> None:
    assert runner.invoke(main.app, ["ordr"]).exit_code == 2


def test_unforeseen_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_down(**_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(main, "app", break_down)
    with pytest.raises(SystemExit) as ending:
        main.main()
    assert ending.value.code == 1
    assert one_line(capsys.readouterr().err) == "saga: ZeroDivisionError: by zero\n"
