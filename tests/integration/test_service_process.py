"""The exit of a service's process, as a supervisor sees it."""

import os
import subprocess
import sys

from local_stack.process import free_port

UNREACHABLE = "127.0.0.1:1"
PROGRAM = """\
import asyncio, runpy
from order_service.application import OrderApplication

async def cancelled(self):
    raise asyncio.CancelledError

OrderApplication.due = cancelled
runpy.run_module("order_service", run_name="__main__", alter_sys=True)
"""


def test_a_service_fails_if_a_part_of_it_ends() -> None:
    env = {
        **os.environ,
        "RABBITMQ_URL": f"amqp://{UNREACHABLE}/",
        "MONGODB_URL": f"mongodb://{UNREACHABLE}/?serverSelectionTimeoutMS=300",
        "ORDER_PORT": str(free_port()),
        "ORDER_SWEEP_EVERY": "0.1",
    }
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, timeout=90, check=False
    )
    assert ended.returncode == 1, ended.stderr
    assert "ended by itself" in ended.stderr
