"""CPU and memory of processes, with all that they have started."""

import os
import subprocess
import sys
import time

import pytest

from benchmarks.processes import PROC, busy_seconds, cpu_seconds, megabytes

pytestmark = pytest.mark.skipif(not (PROC / "stat").exists(), reason="needs Linux")

WORK = "import time; end = time.process_time() + 0.15\nwhile time.process_time() < end: pass"


def test_a_part_is_a_process_with_its_children() -> None:
    before = cpu_seconds({"me": [os.getpid()], "gone": [0]})
    subprocess.run([sys.executable, "-c", WORK], check=True)
    after = cpu_seconds({"me": [os.getpid()], "gone": [0]})
    assert after["me"] - before["me"] >= 0.12
    assert after["gone"] == 0


def test_the_machine_works_while_a_process_does() -> None:
    before, end = busy_seconds(), time.process_time() + 0.15
    while time.process_time() < end:
        pass
    assert busy_seconds() - before >= 0.1


def test_memory_is_that_of_running_processes() -> None:
    assert megabytes([os.getpid()]) > 10
    assert megabytes([2**22 + 1]) == 0
