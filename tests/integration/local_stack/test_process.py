"""Child processes: how they start, end, and are waited for; and free ports."""

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local_stack.process import Child, ProcessFailed, free_port, wait_until

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


def test_stop_sends_sigterm_first(child: Callable[[list[str]], Child]) -> None:
    obedient = child(OBEDIENT)
    obedient.stop(grace=LIMIT)
    assert obedient.exit_code == -signal.SIGTERM


def test_stop_does_not_wait_longer_than_its_grace(child: Callable[[list[str]], Child]) -> None:
    deaf = child(DEAF)
    deaf.stop(grace=0.05)
    assert deaf.exit_code == -signal.SIGKILL


def test_restarted_child_shows_only_its_new_output(child: Callable[[list[str]], Child]) -> None:
    again = child(OBEDIENT)
    again.kill()
    again.start()
    wait_until(lambda: again.log_tail() == "up", LIMIT, "the child has written again", again)


def test_running_child_is_not_started_twice(child: Callable[[list[str]], Child]) -> None:
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


def test_waiting_ends_after_its_timeout() -> None:
    with pytest.raises(ProcessFailed, match=r"Waited 0\.1 s until pigs fly"):
        wait_until(lambda: False, 0.1, "pigs fly")


def test_port_in_use_is_not_free() -> None:
    taken = free_port()
    with socket.create_server(("127.0.0.1", taken)):
        assert free_port(preferred=taken) != taken
    assert free_port(preferred=taken) == taken


def test_port_is_given_to_one_process_only() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as reservation, pytest.raises(OSError, match="in use"):
        reservation.bind(("127.0.0.1", free_port()))


def test_a_preferred_port_goes_to_one_process_only() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as reserved_by_another:
        reserved_by_another.bind(("127.0.0.1", 0))
        preferred = reserved_by_another.getsockname()[1]
        assert free_port(preferred) != preferred


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return state.stdout.strip()[:1] not in ("", "Z")
