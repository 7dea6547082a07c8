"""A pytest plugin: tests that need what this machine lacks are left out, which is reported; in CI they
fail."""

import os
import subprocess
from collections.abc import Mapping
from functools import cache

import pytest

NEEDS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "browser": (("chromium", "--version"),),
    "containers": (("docker", "version"), ("docker", "compose", "version")),
}
"""For each marker the commands that must work."""

COMMAND_LIMIT = 30.0

LEFT_OUT = pytest.StashKey[list[str]]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests whose needs are not met."""
    config.stash[LEFT_OUT] = []
    if os.environ.get("CI"):
        return
    for marker in sorted({mark.name for item in items for mark in item.iter_markers()}):
        if missing := missing_need(marker):
            left_out = [item for item in items if item.get_closest_marker(marker)]
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in left_out]
            config.stash[LEFT_OUT].append(f"{len(left_out)} tests marked `{marker}` were not run: {missing}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left out."""
    for line in config.stash.get(LEFT_OUT, []):
        terminalreporter.write_line(line, yellow=True)


@cache
def missing_need(marker: str) -> str:
    """Say what this machine lacks for the tests with a marker; empty: nothing."""
    failed = (" ".join(command) for command in NEEDS.get(marker, ()) if not _works(command))
    return ", ".join(f"`{command}` does not work here" for command in failed)


def _works(command: tuple[str, ...]) -> bool:
    try:
        return (
            subprocess.run(command, capture_output=True, timeout=COMMAND_LIMIT, check=False).returncode == 0
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
