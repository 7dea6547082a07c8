"""The workflow of GitHub Actions: it can be read, and what it names exists. It cannot be run here."""

import os
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/checks.yaml").read_text("utf-8"))
JOBS: dict[str, dict[str, Any]] = WORKFLOW["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]
COMMANDS = [line.strip() for step in STEPS for line in step.get("run", "").splitlines()]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))


def test_every_job_and_step_has_the_keys_that_actions_knows() -> None:
    assert set(WORKFLOW) == {"name", "on", "permissions", "env", "jobs"}
    assert set(WORKFLOW["on"]) <= {"push", "pull_request"}
    for job in JOBS.values():
        assert set(job) == {"runs-on", "timeout-minutes", "steps"}
    for step in STEPS:
        assert ("uses" in step) != ("run" in step)
        assert set(step) <= {"name", "uses", "with", "run"}
        assert "uses" not in step or re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])


def test_every_lane_is_run() -> None:
    assert {"make check", "make prove", "make test"} <= set(COMMANDS)


def test_every_make_target_and_script_exists() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for command in COMMANDS:
        first, *rest = command.split()
        if first == "make":
            assert set(rest) <= targets
        if first.startswith("scripts/"):
            assert os.access(ROOT / first, os.X_OK), first


def test_every_image_is_one_of_the_compose_file() -> None:
    services = COMPOSE["services"]
    for command in COMMANDS:
        if pulled := re.fullmatch(r"docker compose pull (.*)", command):
            assert set(pulled[1].split()) <= services.keys()
        if tested := re.fullmatch(r"scripts/test-on-rabbitmq (.*)", command):
            assert f":-{tested[1]}}}" in services["rabbitmq"]["image"]
    assert services["mongodb"]["image"].partition(":-")[2].startswith("mongo:")
