"""A small run of `saga bench`, and one that is interrupted."""

import asyncio
import json
import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.broker import until

NAMES = ["this saga", "bare forwarder", *(["FastStream"] if find_spec("faststream") else [])]


async def bench(tmp_path: Path, *arguments: str) -> asyncio.subprocess.Process:
    """Start the command, with its files below a directory."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "bench", *arguments),
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=_heed_interrupts,
    )


def _heed_interrupts() -> None:
    """Undo what a shell does to the commands that it starts in the background: they ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.timeout(400)
async def test_a_quick_benchmark_counts_measures_and_verifies(tmp_path: Path) -> None:
    process = await bench(tmp_path, "--quick", "--replicas=2", "--json")
    out, err = await process.communicate()
    result = json.loads(out or b"{}")
    assert process.returncode == 0, f"{result} {err.decode()}"
    assert result["ok"]
    assert [system["name"] for system in result["systems"]] == NAMES
    for system in result["systems"]:
        assert system["verified"] >= 100
        assert system["counted"]["oneByOne"]["client"]["published"] == 1.0
        # Two replicas of the saga's services may try to insert the same document.
        assert system["counted"]["batched"]["inventory_service"]["inserted"] >= 1.0
        assert system["latencies"][0]["p50"] > 0
        # Linux counts in steps of 10 ms, which is more than a quick part uses.
        assert sum(system["cpuMilliseconds"][0].values()) > 0
    assert await asyncio.to_thread(os.listdir, tmp_path) == [], "nothing is left behind"


@pytest.mark.timeout(120)
async def test_an_interrupted_benchmark_leaves_nothing_behind(tmp_path: Path) -> None:
    process = await bench(tmp_path, "--no-peers")
    # The services' logs appear while they are being started.
    await until(lambda: bool([*tmp_path.rglob("order_service.log")]), "the services are being started")
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    assert process.returncode == 130, f"{out.decode()} {err.decode()}"
    assert await asyncio.to_thread(os.listdir, tmp_path) == []
