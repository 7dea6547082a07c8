"""The state directory of a stack."""

import os
from pathlib import Path

import pytest

from local_stack.process import ProcessFailed
from local_stack.stack import Stack
from operations.endpoints import running_endpoints


def test_two_stacks_do_not_share_a_state_directory(tmp_path: Path) -> None:
    elsewhere = {"RABBITMQ_URL": "amqp://127.0.0.1:1/", "MONGODB_URL": "mongodb://127.0.0.1:1/"}
    other = Stack(tmp_path, env=elsewhere)

    class SeenEnough(Exception):
        pass

    def start_another(_: str) -> None:
        with pytest.raises(ProcessFailed, match=f"Process {os.getpid()} already runs a stack in {tmp_path}"):
            other.start()
        other.stop()
        raise SeenEnough

    def give_up(_: str) -> None:
        raise SeenEnough

    first = Stack(tmp_path, env=elsewhere)
    with pytest.raises(SeenEnough):
        first.start(report=start_another)
    first.stop()
    with pytest.raises(SeenEnough):
        other.start(report=give_up)
    other.stop()
    assert running_endpoints(tmp_path) is None
