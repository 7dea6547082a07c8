"""A short run of `saga chaos`: orders, faults of every part and every kind, then the audit."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from verification.chaos.faults import KINDS, PARTS

ORDERS = 100
FAULTS = 11
SEED = 86
"""Of all seeds up to this one, the first that strikes every part, in every way, and kills the broker once."""


@pytest.mark.timeout(900)
async def test_a_short_chaos_run_breaks_no_promise(tmp_path: Path) -> None:
    arguments = [f"--orders={ORDERS}", "--minutes=0.75", f"--faults={FAULTS}", f"--seed={SEED}", "--json"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "chaos", *arguments),
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(840):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(50):
                await process.wait()
    result = json.loads(out or b"{}")
    assert process.returncode == 0, f"{result} {err.decode()}"
    assert result["ok"]
    assert result["accepted"] == result["audit"]["judged"] == ORDERS
    assert sum(sum(ends.values()) for ends in result["orders"].values()) == ORDERS
    assert len(result["faults"]) == FAULTS
    assert {fault["part"] for fault in result["faults"]} == PARTS.keys()
    assert {fault["kind"] for fault in result["faults"]} == KINDS.keys()
    assert result["deadLetters"] == {}
    left = await asyncio.to_thread(os.listdir, tmp_path)
    assert left == [], "what went well leaves nothing behind"
