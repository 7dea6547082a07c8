"""What a stack would start, and its state directory."""

import os
from pathlib import Path

import pytest

from events.catalogue import INVENTORY, ORDER, SERVICES
from local_stack.process import ProcessFailed
from local_stack.stack import Stack
from operations.endpoints import Endpoints, running_endpoints


class SeenEnough(Exception):
    """Ends a start before anything has been started."""


def give_up(_: str) -> None:
    raise SeenEnough


def planned(directory: Path, **env: str) -> tuple[set[str], Endpoints]:
    """Return which services would get a private database, and the endpoints."""
    stack = Stack(directory, env={"RABBITMQ_URL": "amqp://127.0.0.1:1/", **env})
    try:
        with pytest.raises(SeenEnough):
            stack.start(report=give_up)
        return {*stack.databases}, stack.endpoints
    finally:
        stack.stop()


def test_each_service_gets_a_database_process(tmp_path: Path) -> None:
    private, at = planned(tmp_path)
    assert private == {*SERVICES}
    assert len({*at.mongodb_by_service.values()}) == len(SERVICES)


def test_a_named_server_has_all_databases(tmp_path: Path) -> None:
    private, at = planned(tmp_path, MONGODB_URL="mongodb://127.0.0.1:1/")
    assert private == set()
    assert at.mongodb_by_service == dict.fromkeys(SERVICES, "mongodb://127.0.0.1:1/")


def test_only_services_without_a_named_server_get_one(tmp_path: Path) -> None:
    private, at = planned(tmp_path, PAYMENT_MONGODB_URL="mongodb://127.0.0.1:1/")
    assert private == {ORDER, INVENTORY}
    assert at.payment_mongodb == "mongodb://127.0.0.1:1/"


def test_two_stacks_do_not_share_a_state_directory(tmp_path: Path) -> None:
    elsewhere = {"RABBITMQ_URL": "amqp://127.0.0.1:1/", "MONGODB_URL": "mongodb://127.0.0.1:1/"}
    other = Stack(tmp_path, env=elsewhere)

    def start_another(_: str) -> None:
        with pytest.raises(ProcessFailed, match=f"Process {os.getpid()} already runs a stack in {tmp_path}"):
            other.start()
        other.stop()
        raise SeenEnough

    first = Stack(tmp_path, env=elsewhere)
    with pytest.raises(SeenEnough):
        first.start(report=start_another)
    first.stop()
    with pytest.raises(SeenEnough):
        other.start(report=give_up)
    other.stop()
    assert running_endpoints(tmp_path) is None
