"""Tests whose needs a machine does not meet are left out, and it is said; in CI they are not left out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COLLECT = (sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "containers or browser", "tests/e2e")


@pytest.fixture
def collected(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """What pytest says when it collects them where there is neither Docker nor a browser."""
    env = {**os.environ, "PATH": str(tmp_path), "CI": request.param}
    return subprocess.run(
        COLLECT, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False
    ).stdout


@pytest.mark.parametrize("collected", [""], indirect=True)
def test_without_docker_and_browser_they_are_left_out_and_it_is_said(collected: str) -> None:
    assert "::" not in collected
    assert "tests marked `containers` were not run: `docker version` does not work here" in collected
    assert "tests marked `browser` were not run: `chromium --version` does not work here" in collected


@pytest.mark.parametrize("collected", ["true"], indirect=True)
def test_in_ci_they_are_run_and_fail(collected: str) -> None:
    assert "test_compose.py::" in collected
    assert "test_management_ui.py::" in collected
    assert "not run" not in collected
