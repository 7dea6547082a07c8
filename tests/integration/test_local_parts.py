"""The parts `saga up` is made of, against the real things: processes, RabbitMQ nodes, database servers."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from local_stack import rabbitmq_programs
from local_stack.mongodb_node import DatabaseNode
from local_stack.process import Child, ProcessFailed, free_port, wait_until
from local_stack.rabbitmq_node import BrokerNode
from local_stack.stack import Stack
from operations.endpoints import running_endpoints

LIMIT = 60.0
"""Seconds for what takes a moment on an idle machine."""

OBEDIENT = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]
DEAF = [
    sys.executable,
    "-c",
    "import signal as s; s.signal(s.SIGTERM, s.SIG_IGN); print('up', flush=True); s.pause()",
]
PARENT = """\
import signal, sys, threading
from pathlib import Path
from local_stack.process import Child
child = Child("child", ["sleep", "600"], log=Path(sys.argv[1]))
starter = threading.Thread(target=child.start)
starter.start()
starter.join()
print(child.pid, flush=True)
signal.pause()
"""

QUORUM = {"durable": True, "arguments": {"x-queue-type": "quorum"}}
Node = BrokerNode | DatabaseNode


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


@pytest.fixture
def run() -> Iterator[Callable[..., None]]:
    """Starts nodes, waits until all are ready, and kills them after the test."""
    nodes: list[Node] = []

    def start(*new: Node) -> None:
        nodes.extend(new)
        for node in new:
            node.start()
        for node in new:
            node.wait_ready()

    yield start
    for node in nodes:
        node.kill()


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Callable[[list[str]], Child]]:
    """Starts a child and waits for its first output; kills it after the test."""
    children: list[Child] = []

    def start(argv: list[str]) -> Child:
        new = Child("the child", argv, log=tmp_path / f"{len(children)}.log")
        children.append(new)
        new.start()
        wait_until(lambda: bool(new.log_tail()), LIMIT, "the child has written something", new)
        return new

    yield start
    for each in children:
        each.kill()


def test_stop_is_polite_first(child: Callable[[list[str]], Child]) -> None:
    obedient = child(OBEDIENT)
    obedient.stop(grace=LIMIT)
    assert obedient.exit_code == -signal.SIGTERM


def test_stop_does_not_wait_longer_than_its_grace(child: Callable[[list[str]], Child]) -> None:
    deaf = child(DEAF)
    deaf.stop(grace=0.05)
    assert deaf.exit_code == -signal.SIGKILL


def test_a_child_starts_again_and_shows_only_its_new_output(child: Callable[[list[str]], Child]) -> None:
    again = child(OBEDIENT)
    again.kill()
    again.start()
    wait_until(lambda: again.log_tail() == "up", LIMIT, "the child has written again", again)


def test_a_running_child_is_not_started_twice(child: Callable[[list[str]], Child]) -> None:
    running = child(OBEDIENT)
    with pytest.raises(ProcessFailed, match=f"already running as process {running.pid}"):
        running.start()


def test_children_outlive_the_starting_thread_not_their_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path / "log")], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
    assert is_running(pid)
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_running(pid), LIMIT, "the child is gone")


def test_waiting_ends_with_the_log_when_the_child_has_ended(tmp_path: Path) -> None:
    failing = Child("the child", ["sh", "-c", "echo no such disk >&2; exit 3"], log=tmp_path / "log")
    failing.start()
    with pytest.raises(
        ProcessFailed, match=r"(?s)until it is up: the child ended with exit code 3.*no such disk"
    ):
        wait_until(lambda: False, 600, "it is up", failing)


def test_waiting_gives_up_in_time() -> None:
    with pytest.raises(ProcessFailed, match=r"Waited 0\.1 s until pigs fly"):
        wait_until(lambda: False, 0.1, "pigs fly")


def test_a_port_in_use_is_not_free() -> None:
    taken = free_port()
    with socket.create_server(("127.0.0.1", taken)):
        assert free_port(preferred=taken) != taken
    assert free_port(preferred=taken) == taken


def test_a_port_is_given_to_one_process_only() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as reservation, pytest.raises(OSError, match="in use"):
        reservation.bind(("127.0.0.1", free_port()))


def test_two_private_nodes_run_side_by_side(pair: tuple[BrokerNode, BrokerNode]) -> None:
    one, other = pair
    declare(one, "only-here")
    assert "only-here" in queues(one)
    assert "only-here" not in queues(other)
    for node in pair:
        assert "x-consistent-hash" in exchange_types(node)
        assert not listens_elsewhere(node.url)
        assert not listens_elsewhere(node.management_url)


def test_a_killed_node_comes_back_on_its_ports_with_its_messages(
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


def test_a_stopped_node_leaves_no_process_behind(
    directory: Path, pair: tuple[BrokerNode, BrokerNode]
) -> None:
    leaves_no_process_behind(pair[1], directory / "other two", BrokerNode.stop)


def leaves_no_process_behind(node: BrokerNode, home: Path, end: Callable[[BrokerNode], None]) -> None:
    """End a node, and check that Erlang's helpers end with it, where /proc shows them."""
    if has_proc := Path("/proc/self/environ").exists():
        assert len(processes_below(home)) > len(node.children), "Erlang's helpers are found too"
    end(node)
    assert not any(child.alive for child in node.children)
    if has_proc:
        wait_until(lambda: not processes_below(home), LIMIT, "Erlang's helpers are gone")


def test_a_node_that_cannot_start_says_why(tmp_path: Path, run: Callable[..., None]) -> None:
    node = BrokerNode(tmp_path)
    with (
        socket.create_server(("127.0.0.1", urlsplit(node.url).port or 0)),
        pytest.raises(ProcessFailed, match=r"(?s)RabbitMQ ended with exit code .*eaddrinuse"),
    ):
        run(node)


def test_without_rabbitmq_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq_programs, "USUAL_PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProcessFailed, match="scripts/setup --system rabbitmq-server"):
        BrokerNode(tmp_path)


def test_a_killed_database_has_every_acknowledged_write(tmp_path: Path, run: Callable[..., None]) -> None:
    node = DatabaseNode(tmp_path)
    run(node)
    acknowledged = written_until_killed(node, at_least=500)
    node.start()
    node.wait_ready()
    client: MongoClient[dict[str, Any]] = MongoClient(node.url)
    with client:
        kept = set(client.test.writes.distinct("_id"))
    assert acknowledged - kept == set()


def test_a_database_stops_in_order(tmp_path: Path, run: Callable[..., None]) -> None:
    node = DatabaseNode(tmp_path)
    run(node)
    node.stop()
    assert not any(child.alive for child in node.children)


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


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return state.stdout.strip()[:1] not in ("", "Z")


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
    message = {
        "properties": {"delivery_mode": 2},
        "routing_key": queue,
        "payload": payload,
        "payload_encoding": "string",
    }
    with management(node) as api:
        answer = api.post("/exchanges/%2F/amq.default/publish", json=message).raise_for_status()
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


def written_until_killed(node: DatabaseNode, at_least: int) -> set[str]:
    """Kill the server while several clients insert documents; the ids that it had acknowledged."""
    acknowledged: set[str] = set()

    def insert(name: str) -> None:
        client: MongoClient[dict[str, Any]] = MongoClient(node.url, serverSelectionTimeoutMS=500)
        with client, suppress(PyMongoError):
            for number in range(100_000):
                client.test.writes.insert_one({"_id": f"{name}-{number}"})
                acknowledged.add(f"{name}-{number}")

    writers = [threading.Thread(target=insert, args=(f"writer-{n}",)) for n in range(4)]
    for writer in writers:
        writer.start()
    wait_until(lambda: len(acknowledged) >= at_least, LIMIT, "enough is written")
    node.kill()
    for writer in writers:
        writer.join()
    return acknowledged
