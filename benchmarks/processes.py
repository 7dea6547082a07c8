"""What processes use, as Linux counts it in /proc; elsewhere nothing is known."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
BUSY = (0, 1, 2, 5, 6)
"""The columns of /proc/stat that are work: user, nice, system, and interrupts of both kinds."""


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    seconds: float


def cpu_seconds(roots: Mapping[str, Iterable[int]]) -> dict[str, float]:
    """Return the CPU seconds, user and system, of each part so far.

    A part is some processes with all that they have started, children that have ended included.
    """
    processes = _processes()
    children: defaultdict[int, list[int]] = defaultdict(list)
    for number, process in processes.items():
        children[process.parent].append(number)
    return {part: sum(_tree(list(ids), processes, children)) for part, ids in roots.items()}


def busy_seconds() -> float:
    """Return for how many seconds the processors of this machine have worked so far, all of them together."""
    if not (PROC / "stat").exists():
        return 0.0
    columns = (PROC / "stat").read_text().splitlines()[0].split()[1:]
    return sum(int(columns[position]) for position in BUSY) / TICKS


def megabytes(ids: Iterable[int]) -> float:
    """Return the memory of these processes; pages that several share are divided among them (PSS)."""
    kilobytes = 0
    for number in ids:
        with suppress(OSError):
            for line in (PROC / str(number) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kilobytes += int(line.split()[1])
    return kilobytes / 1024


def _tree(
    numbers: list[int], processes: Mapping[int, _Process], children: Mapping[int, list[int]]
) -> Iterable[float]:
    while numbers:
        number = numbers.pop()
        if number in processes:
            yield processes[number].seconds
            numbers += children.get(number, [])


def _processes() -> dict[int, _Process]:
    found = {}
    for directory in PROC.glob("[0-9]*"):
        with suppress(OSError):
            text = (directory / "stat").read_text()
            # The name, in parentheses, may hold blanks; the state follows it.
            fields = text[text.rindex(")") + 2 :].split()
            found[int(directory.name)] = _Process(int(fields[1]), sum(map(int, fields[11:15])) / TICKS)
    return found
