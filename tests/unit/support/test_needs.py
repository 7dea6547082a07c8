"""Tests whose needs a machine does not meet are left out, and the summary says so; in CI they are run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SAMPLE = """\
import pytest

@pytest.mark.browser
def test_browser(): pass

@pytest.mark.containers
def test_containers(): pass

def test_neither(): pass
"""
SETTINGS = "[pytest]\nmarkers =\n    browser: x\n    containers: x\n"


@pytest.fixture
def collected(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """What pytest says when it collects tests where there is neither Docker nor a browser."""
    (tmp_path / "test_sample.py").write_text(SAMPLE)
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    env = {
        **os.environ,
        "PATH": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "CI": request.param,
    }
    options = ("--collect-only", "-q", "-p", "tests.support.needs")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    ).stdout


@pytest.mark.parametrize("collected", [""], indirect=True)
def test_unmet_needs_are_left_out_and_reported(collected: str) -> None:
    assert "test_neither" in collected
    assert "test_browser" not in collected
    assert "test_containers" not in collected
    assert "1 tests marked `containers` were not run: `docker version` does not work here" in collected
    assert "1 tests marked `browser` were not run: `chromium --version` does not work here" in collected


@pytest.mark.parametrize("collected", ["true"], indirect=True)
def test_unmet_needs_are_run_in_ci(collected: str) -> None:
    assert "test_browser" in collected
    assert "test_containers" in collected
    assert "not run" not in collected
