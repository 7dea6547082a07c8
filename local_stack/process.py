"""Child processes of the local stack: start, watch and end them.

A child leads its own session, so that the terminal's Ctrl-C reaches only the parent, which stops its children
in order. On Linux a child is killed together with its parent, even when the parent had no chance to clean up.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from saga.errors import SagaError

POLL_INTERVAL = 0.05
"""Seconds between two checks of an awaited condition."""

TAIL_BYTES = 20_000
"""How much of the end of a log is read to show its last lines."""

# Linux ties a child's parent-death signal to the thread that started it, not to the process. So one thread,
# which lives as long as the process, starts all children: a worker thread would take its children along.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")

_reservations: dict[int, socket.socket] = {}
"""UDP sockets that reserve the ports given out, as long as this process lives."""


class ProcessFailed(SagaError):
    """A part of the local stack could not be started or has ended; says which, why and what to do."""


class Child:
    """A process that ends no later than this one, and can be started again after it has ended.

    Its output is appended to `log`, or goes to this process's stderr without one. Any thread may start it.
    If it still runs when the interpreter exits, it is killed before the functions of `atexit` run.
    """

    def __init__(
        self, name: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None, log: Path | None = None
    ) -> None:
        self.name = name
        self.log = log
        self._argv = [*_die_with_parent(), *argv]
        self._env = env
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process.

        Raises:
            ProcessFailed: it is running already, or its program is missing.
        """
        if self.alive:
            raise ProcessFailed(f"{self.name} is already running as process {self.pid}: stop it first.")
        try:
            self._process = _spawner.submit(self._spawn).result()
        except OSError as error:
            raise ProcessFailed(f"{self.name} cannot be started: {error}") from error

    @property
    def pid(self) -> int:
        """The id of the process that was started last.

        Raises:
            RuntimeError: none has been started.
        """
        return self._started().pid

    @property
    def alive(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code of the process, negative if a signal ended it; None while it runs."""
        return self._started().poll()

    def signal(self, number: int) -> None:
        """Send a signal to the process, not to its children; does nothing after its end."""
        self._started().send_signal(number)

    def stop(self, grace: float) -> None:
        """End the process with SIGTERM, and after at most `grace` seconds its group with SIGKILL."""
        if not self.alive:
            return
        self.signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._started().wait(grace)
        self._kill_group()

    def kill(self) -> None:
        """End the process and its group with SIGKILL; does nothing after its end."""
        if self.alive:
            self._kill_group()

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines written since the last start; empty without a log file."""
        if self.log is None or not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(self._log_start, self.log.stat().st_size - TAIL_BYTES))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def describe_end(self) -> str:
        """Describe the end of the process: its exit code, its log file, the end of its log."""
        text = f"{self.name} ended with exit code {self.exit_code}"
        if self.log is None:
            return f"{text}; its output is above."
        return f"{text}; its log {self.log} ends with:\n{self.log_tail()}"

    def _spawn(self) -> subprocess.Popen[bytes]:
        if self.log is None:
            return self._popen(sys.stderr.fileno())
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            return self._popen(log.fileno())

    def _popen(self, output: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._argv,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def _kill_group(self) -> None:
        process = self._started()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.name} has not been started")
        return self._process


def _die_with_parent() -> list[str]:
    # setpriv (util-linux) sets the signal and becomes the program, so the process id stays. A preexec_fn
    # could do the same, but is unsafe, and warned about since Python 3.12, once there are threads.
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def free_port(preferred: int | None = None) -> int:
    """Return a TCP port of 127.0.0.1 on which nothing listens: the preferred one if it is free, else any.

    Any other lies below the range from which systems draw ports for outgoing connections, so that a server
    finds its port free again after a restart. No two processes get the same one.
    """
    if preferred is not None and _is_free(preferred) and (preferred in _reservations or _reserve(preferred)):
        return preferred
    while not (_is_free(port := 20_000 + secrets.randbelow(12_000)) and _reserve(port)):
        pass
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Ignores connections of an earlier server that are still in TIME_WAIT.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return _binds(probe, port)


def _reserve(port: int) -> bool:
    # Until its server listens, only the UDP port of the same number tells others that a port is taken.
    reservation = socket.socket(type=socket.SOCK_DGRAM)
    if not _binds(reservation, port):
        reservation.close()
        return False
    _reservations[port] = reservation
    return True


def _binds(new: socket.socket, port: int) -> bool:
    with suppress(OSError):
        new.bind(("127.0.0.1", port))
        return True
    return False


def wait_until(condition: Callable[[], bool], timeout: float, what: str, child: Child | None = None) -> None:
    """Wait until a condition holds, at most `timeout` seconds.

    `what` names the condition for the error, as in "the server answers"; `child` is the process that has to
    make it true.

    Raises:
        ProcessFailed: the time is up, or the child has ended.
    """
    deadline = time.monotonic() + timeout
    while True:
        if child is not None and not child.alive:
            raise ProcessFailed(f"Waiting until {what}: {child.describe_end()}")
        if condition():
            return
        if time.monotonic() > deadline:
            raise ProcessFailed(_timed_out(timeout, what, child))
        time.sleep(POLL_INTERVAL)


def _timed_out(timeout: float, what: str, child: Child | None) -> str:
    text = f"Waited {timeout:g} s until {what}: it did not happen."
    if child is None or child.log is None:
        return text
    return f"{text} The log {child.log} of {child.name} ends with:\n{child.log_tail()}"
