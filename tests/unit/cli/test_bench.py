"""The report of a benchmark: the same figures as tables, as JSON and as a picture."""

import json
from xml.etree import ElementTree

import pytest
from rich.console import Console

from benchmarks.plan import Plan
from benchmarks.report import BenchReport, Latency, Round, SystemReport
from cli.bench_plot import to_svg, to_text
from cli.bench_report import print_report, to_json


def round_of(per_second: float, others: float = 1.0) -> Round:
    latencies = [
        Latency(20, 10.0, 20.0, 100.0, 120.0, True),
        Latency(50, 1000.0, 1100.0, 1200.0, 1300.0, False),
    ]
    return Round(per_second, {"broker": 1.25, "order_service": 2.5}, 1.5, 150.0, others, latencies)


def report_of(*systems: SystemReport) -> BenchReport:
    plan = Plan(orders=100, rates=(20, 50))
    return BenchReport({"cores": 2, "event loop": "asyncio"}, plan, systems, ["a peer: why"], 12.3)


def measured(name: str = "this saga", **fields: object) -> SystemReport:
    system = SystemReport(name, "every guarantee on", verified=120)
    system.rounds = [round_of(100.0), round_of(300.0), round_of(200.0)]
    system.one_by_one = {"order_service": {"round trips": 5.0}, "client": {"round trips": 1.0}}
    system.batched = {"order_service": {"round trips": 0.5}}
    for field, value in fields.items():
        setattr(system, field, value)
    return system


def printed(report: BenchReport) -> str:
    console = Console(width=200, highlight=False)
    with console.capture() as captured:
        print_report(console, report)
    return captured.get()


def test_tables_show_medians_sums_and_what_was_verified() -> None:
    text = printed(report_of(measured()))
    assert "200 (100..300)" in text
    assert "3.8 (3.8..3.8)" in text
    assert "6.0 / 0.5" in text
    assert "1000 / 1100 / 1200 / 1300, fell behind" in text
    assert "left out: a peer: why" in text
    assert "this saga: 120 sagas ended as they had to" in text
    assert "everything verified" in text


def test_work_of_others_is_reported() -> None:
    text = printed(report_of(measured(rounds=[round_of(1.0, others=30.0)])))
    assert "others used 30 % of the machine" in text


def test_a_system_that_could_not_be_measured_is_a_failure() -> None:
    report = report_of(measured(rounds=[], problems=["ProcessFailed: it has ended"]))
    assert not report.ok
    text = printed(report)
    assert "this saga: ProcessFailed: it has ended" in text
    assert "failed" in text.splitlines()[-1]
    assert json.loads(json.dumps(to_json(report)))["ok"] is False


def test_json_has_every_round_and_every_role() -> None:
    found = json.loads(json.dumps(to_json(report_of(measured()))))
    assert found["ok"] is True
    assert found["machine"] == {"cores": 2, "eventLoop": "asyncio"}
    [system] = found["systems"]
    assert system["sagasPerSecond"] == [100.0, 300.0, 200.0]
    assert system["cpuMilliseconds"][0] == {"broker": 1.25, "orderService": 2.5}
    assert system["counted"]["oneByOne"]["client"] == {"round trips": 1.0}
    assert [one["keptUp"] for one in system["latencies"]] == [True, False]


def test_the_plot_has_a_bar_for_each_rate_and_system() -> None:
    lines = to_text(report_of(measured(), measured("peer")))
    assert [line.split()[0] for line in lines[2:]] == ["20/s", "20/s", "50/s", "50/s"]
    # From 10 ms to 100 ms is one of four decades.
    assert lines[2].count("━") + lines[2].count("─") == 15
    assert lines[4].endswith("!")


def test_the_svg_has_two_lines_for_each_system() -> None:
    picture = ElementTree.fromstring(to_svg(report_of(measured(), measured("a <peer>"))))  # noqa: S314
    lines = [one for one in picture if one.tag.endswith("polyline")]
    assert len(lines) == 4
    assert all(len(line.attrib["points"].split()) == 2 for line in lines)


@pytest.mark.parametrize("rate", [20, 50])
def test_the_latency_at_a_rate_is_that_of_the_median_round(rate: float) -> None:
    system = measured()
    found = system.latency(rate)
    assert found is not None
    assert found.rate == rate
    assert system.latency(7) is None
