"""What some tests need that a machine may lack: a Docker engine, a browser."""

import subprocess
from collections.abc import Mapping
from functools import cache

NEEDS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "browser": (("chromium", "--version"),),
    "containers": (("docker", "version"), ("docker", "compose", "version")),
}
"""For each marker the commands that must work."""

COMMAND_LIMIT = 30.0


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
