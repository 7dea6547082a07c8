"""The flow chart, and the command that prints it."""

import re
from pathlib import Path

import typer
from typer.testing import CliRunner

from cli.flow import flow
from events.catalogue import EVENT_TYPES, SERVICES
from operations.flow_chart import block, mermaid
from operations.generated import markers
from operations.registry import SPECS

START, END = markers("flow")
LINES = [line.strip() for line in mermaid().splitlines()]
ARROW = re.compile(r"(\w+)(?:\(\[.*?\]\))? -->(?:\|.*?\|)? (.+)")
ARROWS = {
    (match[1], re.sub(r"\(\[.*?\]\)", "", target))
    for line in LINES
    if (match := ARROW.fullmatch(line))
    for target in match[2].split(" & ")
}

app = typer.Typer(rich_markup_mode=None)
app.command()(flow)
runner = CliRunner()


def test_every_reaction_that_publishes_is_an_arrow() -> None:
    expected = {
        (kind.__name__, emitted.__name__)
        for spec in SPECS.values()
        for kind, rule in spec.reactions.items()
        for emitted in rule.publishes
    }
    assert expected <= ARROWS
    assert {arrow for arrow in ARROWS if arrow[0] in EVENT_TYPES and arrow[1] in EVENT_TYPES} == expected


def test_reactions_that_publish_nothing_are_shown() -> None:
    assert ("InventoryReservationRequested", "order_adopt") in ARROWS
    assert ("PaymentRefundFailed", "order_await_manual_refund") in ARROWS


def test_publishing_transitions_are_shown() -> None:
    assert ("order_place", "InventoryReservationRequested") in ARROWS
    assert ("inventory_expire", "InventoryReservationExpired") in ARROWS
    assert {source for source, _ in ARROWS} - set(EVENT_TYPES) == {
        f"{spec.short_name}_{rule.name}"
        for spec in SPECS.values()
        for rule in spec.transitions
        if rule.publishes
    }


def test_events_have_the_colour_of_their_publisher() -> None:
    coloured = {line.split()[2]: line.split()[1].split(",") for line in LINES if line.startswith("class ")}
    assert list(coloured) == list(SERVICES)
    for kind, event in EVENT_TYPES.items():
        assert [service for service in SERVICES if kind in coloured[service]] == [event.published_by]
    nodes = {node for arrow in ARROWS for node in arrow} | set(SERVICES)
    assert sorted(nodes) == sorted(node for service in SERVICES for node in coloured[service])


def test_chart_is_deterministic() -> None:
    assert mermaid() == mermaid()
    assert len(set(LINES)) == len(LINES)


class TestCommand:
    def test_it_prints_the_chart(self) -> None:
        result = runner.invoke(app, [])
        assert (result.exit_code, result.output) == (0, mermaid() + "\n")

    def test_it_writes_the_chart_into_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "page.md"
        file.write_text(f"{START}{END}", "utf-8")
        assert runner.invoke(app, ["--into", str(file)]).exit_code == 0
        assert file.read_text("utf-8") == f"{START}\n{block()}\n{END}"

    def test_a_file_without_markers_is_left_alone(self, tmp_path: Path) -> None:
        file = tmp_path / "page.md"
        file.write_text("nothing here", "utf-8")
        result = runner.invoke(app, ["--into", str(file)])
        assert result.exit_code == 2
        assert "does not have" in result.output
        assert file.read_text("utf-8") == "nothing here"
