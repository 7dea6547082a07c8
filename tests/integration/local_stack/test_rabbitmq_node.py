"""Private RabbitMQ nodes: alone on the machine, durable, and gone at the end."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from local_stack import rabbitmq_programs
from local_stack.process import ProcessFailed, wait_until
from local_stack.rabbitmq_node import BrokerNode
from operations.manual_publishing import publication

LIMIT = 60.0
"""Seconds for what takes a moment on an idle machine."""

QUORUM = {"durable": True, "arguments": {"x-queue-type": "quorum"}}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the two nodes have their files."""
    return tmp_path_factory.mktemp("nodes")


@pytest.fixture(scope="module")
def two_nodes(directory: Path) -> Iterator[tuple[BrokerNode, BrokerNode]]:
    """Two RabbitMQ nodes."""
    nodes = BrokerNode(directory / "one"), BrokerNode(directory / "other two")
    yield nodes
    for node in nodes:
        node.kill()


@pytest.fixture
def pair(two_nodes: tuple[BrokerNode, BrokerNode]) -> tuple[BrokerNode, BrokerNode]:
    """Two RabbitMQ nodes that run, whatever an earlier test has done to them."""
    ended = [node for node in two_nodes if not node.children[0].alive]
    for node in ended:
        node.start()
    for node in ended:
        node.wait_ready()
    return two_nodes


def test_two_private_nodes_run_side_by_side(pair: tuple[BrokerNode, BrokerNode]) -> None:
    one, other = pair
    declare(one, "only-here")
    assert "only-here" in queues(one)
    assert "only-here" not in queues(other)
    for node in pair:
        assert "x-consistent-hash" in exchange_types(node)
        assert not listens_elsewhere(node.url)
        assert not listens_elsewhere(node.management_url)


def test_killed_node_restarts_with_its_ports_and_messages(
    directory: Path, pair: tuple[BrokerNode, BrokerNode]
) -> None:
    node, home = pair[0], directory / "one"
    before = node.url, node.management_url
    declare(node, "kept")
    publish(node, "kept", "still here")
    # RabbitMQ writes the names of new quorum queues to disk only half a second later. Killed before that, it
    # comes back without the queue's leader, and a client that uses it waits indefinitely (seen with 3.10).
    wait_until(lambda: "kept" in names_on_disk(home), LIMIT, "the queue's name is on disk")
    leaves_no_process_behind(node, home, BrokerNode.kill)
    node.start()
    node.wait_ready()
    assert (node.url, node.management_url) == before
    assert take(node, "kept") == "still here"


def test_stopped_node_leaves_no_process_behind(directory: Path, pair: tuple[BrokerNode, BrokerNode]) -> None:
    leaves_no_process_behind(pair[1], directory / "other two", BrokerNode.stop)


def leaves_no_process_behind(node: BrokerNode, home: Path, end: Callable[[BrokerNode], None]) -> None:
    """End a node, and check that Erlang's helpers end with it, where /proc shows them."""
    if has_proc := Path("/proc/self/environ").exists():
        assert len(processes_below(home)) > len(node.children), "Erlang's helpers are found too"
    end(node)
    assert not any(child.alive for child in node.children)
    if has_proc:
        wait_until(lambda: not processes_below(home), LIMIT, "Erlang's helpers are gone")


def test_node_that_cannot_start_says_why(tmp_path: Path) -> None:
    node = BrokerNode(tmp_path)
    with socket.create_server(("127.0.0.1", urlsplit(node.url).port or 0)):
        node.start()
        with pytest.raises(ProcessFailed, match=r"(?s)RabbitMQ ended with exit code .*eaddrinuse"):
            node.wait_ready()
    node.kill()


def test_missing_rabbitmq_is_reported_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq_programs, "USUAL_PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProcessFailed, match="scripts/setup --system rabbitmq-server"):
        BrokerNode(tmp_path)


def processes_below(home: Path) -> set[int]:
    """The ids of the processes that were given a home directory; zombies have none."""
    return {int(path.name) for path in Path("/proc").glob("[0-9]*") if _has_home(path, home)}


def _has_home(path: Path, home: Path) -> bool:
    try:
        return f"HOME={home}".encode() in (path / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def listens_elsewhere(url: str) -> bool:
    """Whether the port of the URL is open on a second address: a listener on all addresses would be."""
    try:
        socket.create_connection(("127.0.0.2", urlsplit(url).port or 0), timeout=1).close()
    except OSError:
        return False
    return True


def management(node: BrokerNode) -> httpx.Client:
    return httpx.Client(base_url=f"{node.management_url}/api", auth=("guest", "guest"), trust_env=False)


def declare(node: BrokerNode, queue: str) -> None:
    with management(node) as api:
        api.put(f"/queues/%2F/{queue}", json=QUORUM).raise_for_status()


def publish(node: BrokerNode, queue: str, payload: str) -> None:
    """Publish a persistent message; returns once the broker has confirmed it."""
    path, message = publication("/", "amq.default", queue, payload, {"delivery_mode": 2})
    with management(node) as api:
        answer = api.post(path.removeprefix("/api"), json=message).raise_for_status()
    assert answer.json() == {"routed": True}


def names_on_disk(directory: Path) -> str:
    """What RabbitMQ has written about the names of its quorum queues."""
    files = directory.glob("data/quorum/*/names.dets")
    return "".join(file.read_bytes().decode("latin-1") for file in files)


def take(node: BrokerNode, queue: str) -> str:
    request = {"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"}
    with management(node) as api:
        answer = api.post(f"/queues/%2F/{queue}/get", json=request).raise_for_status()
    return str(answer.json()[0]["payload"])


def queues(node: BrokerNode) -> list[str]:
    with management(node) as api:
        return [queue["name"] for queue in api.get("/queues").raise_for_status().json()]


def exchange_types(node: BrokerNode) -> set[str]:
    with management(node) as api:
        overview = api.get("/overview").raise_for_status().json()
    return {kind["name"] for kind in overview["exchange_types"]}
