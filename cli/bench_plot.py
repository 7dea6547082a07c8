"""Latency by offered rate as a picture: for the terminal, and as SVG."""

import math
from collections.abc import Iterator, Sequence
from html import escape

from benchmarks.report import BenchReport, Latency

DECADES = 4
"""From 1 ms to 10 s, on a logarithmic scale."""
COLUMNS = 60
WIDTH, HEIGHT, MARGIN = 720, 360, 56
COLOURS = ("#1d4ed8", "#b45309", "#15803d")


def to_text(report: BenchReport) -> list[str]:
    """Return a line for each rate and system: from p50 over p90 to p99."""
    widest = max(len(system.name) for system in report.systems)
    ticks = "".join(label.ljust(COLUMNS // DECADES) for label in ("1 ms", "10", "100", "1 s"))
    lines = ["Latency by offered rate: ● p50 ━ p90 ─ p99 ! fell behind", f"{'':{widest + 10}}{ticks}10 s"]
    for rate in report.plan.rates:
        for system in report.systems:
            if found := system.latency(rate):
                lines.append(f"{rate:6g}/s {system.name:{widest}}{_bar(found)}")
    return lines


def to_svg(report: BenchReport) -> str:
    """Return a picture with a line for the p50 and a dashed one for the p99 of each system."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="12">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            *_axes(report.plan.rates),
            *_curves(report),
            "</svg>\n",
        ]
    )


def _bar(latency: Latency) -> str:
    p50, p90, p99 = (round(COLUMNS * _scale(one)) for one in (latency.p50, latency.p90, latency.p99))
    bar = " " * p50 + "●" + "━" * (p90 - p50) + "─" * (p99 - p90)
    return f" {bar} {latency.p50:.0f} / {latency.p99:.0f}{'' if latency.kept_up else ' !'}"


def _scale(milliseconds: float) -> float:
    """Return where a latency lies, from 0 (1 ms and less) to 1 (10 s and more)."""
    return min(1.0, max(0.0, math.log10(max(milliseconds, 1.0)) / DECADES))


def _axes(rates: Sequence[float]) -> Iterator[str]:
    for decade, label in enumerate(("1 ms", "10 ms", "100 ms", "1 s", "10 s")):
        y = _y(10**decade)
        yield f'<line x1="{MARGIN}" y1="{y:.1f}" x2="{WIDTH - 10}" y2="{y:.1f}" stroke="#ddd"/>'
        yield f'<text x="{MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    for position, rate in enumerate(rates):
        x = _x(position, len(rates))
        yield f'<text x="{x:.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">{rate:g}/s</text>'


def _curves(report: BenchReport) -> Iterator[str]:
    for number, system in enumerate(report.systems):
        colour = COLOURS[number % len(COLOURS)]
        found = [(position, system.latency(rate)) for position, rate in enumerate(report.plan.rates)]
        for quantile, dashes in (("p50", ""), ("p99", ' stroke-dasharray="4 4"')):
            points = " ".join(
                f"{_x(position, len(report.plan.rates)):.1f},{_y(getattr(latency, quantile)):.1f}"
                for position, latency in found
                if latency
            )
            yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
        x = MARGIN + number * 220
        yield f'<text x="{x}" y="{HEIGHT - 10}" fill="{colour}">{escape(system.name)}: p50, p99 dashed</text>'


def _x(position: int, count: int) -> float:
    return MARGIN + 20 + position * (WIDTH - MARGIN - 50) / max(1, count - 1)


def _y(milliseconds: float) -> float:
    return HEIGHT - MARGIN - _scale(milliseconds) * (HEIGHT - MARGIN - 20)
