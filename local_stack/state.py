"""The state directory of a local stack: its lock, and the file with the running stack's endpoints."""

import fcntl
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from local_stack.process import ProcessFailed
from operations.endpoints import ENDPOINTS_FILE, LOCK_FILE, Endpoints


def write_endpoints(state_dir: Path, endpoints: Endpoints) -> None:
    """Write the endpoints, readable by the owner alone, since the URLs hold passwords."""
    _write_private(state_dir / ENDPOINTS_FILE, json.dumps(asdict(endpoints)) + "\n")


def forget_endpoints(state_dir: Path) -> None:
    """Remove the endpoints: no stack runs."""
    (state_dir / ENDPOINTS_FILE).unlink(missing_ok=True)


def take_lock(state_dir: Path) -> TextIO:
    """Lock the directory for this process; return the open lock file, which releases the lock when closed.

    Raises:
        ProcessFailed: another process has locked it; names that process.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = (state_dir / LOCK_FILE).open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        pid = lock.read().strip()
        lock.close()
        raise ProcessFailed(
            f"Process {pid} already runs a stack in {state_dir}. Stop that one, or choose another directory "
            "with SAGA_STATE."
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _write_private(path: Path, text: str) -> None:
    """Write a file, readable by its owner alone from the first byte on; readers see all of it or nothing."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)
