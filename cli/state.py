"""The state directory of a local stack: whose it is, and where everything is that runs there."""

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from cli.process import ProcessError

ENDPOINTS_FILE = "endpoints.json"
"""Where a running stack says how it is reached; nobody else can read it."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a stack is: three HTTP APIs, the AMQP URL, the broker's management API, the MongoDB URL."""

    order: str
    inventory: str
    payment: str
    rabbitmq: str
    management: str
    mongodb: str


def running_endpoints(state_dir: Path) -> Endpoints | None:
    """The endpoints of the stack that is up in this state directory; None when there is none."""
    try:
        text = _file(state_dir).read_text()
        with _lock(state_dir).open() as lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None  # nobody holds the lock: the stack was killed and left its file behind
    except FileNotFoundError:
        return None
    return Endpoints(**json.loads(text))


def write_endpoints(state_dir: Path, endpoints: Endpoints) -> None:
    """Say where everything is; only the owner can read it, since the URLs hold passwords."""
    _write_private(_file(state_dir), json.dumps(asdict(endpoints)) + "\n")


def forget_endpoints(state_dir: Path) -> None:
    """Say that nothing runs."""
    _file(state_dir).unlink(missing_ok=True)


def take_lock(state_dir: Path) -> TextIO:
    """The open lock file, which holds the lock and this process's id; it is free again when it is closed."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = _lock(state_dir).open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        pid = lock.read().strip()
        lock.close()
        raise ProcessError(
            f"Process {pid} already runs a stack in {state_dir}. Stop that one, or choose another directory "
            "with SAGA_STATE."
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _file(state_dir: Path) -> Path:
    return state_dir / ENDPOINTS_FILE


def _lock(state_dir: Path) -> Path:
    return state_dir / "lock"


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first byte on; readers see all of it or nothing."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)
