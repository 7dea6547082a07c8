"""MongoDB for the local stack: an embedded server that speaks its protocol, as a process of its own."""

import sys
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from cli.process import Child, ProcessError, free_port, wait_until

START_LIMIT = 30.0
"""Seconds the server may take to start; half a second is usual."""

STOP_LIMIT = 5.0
"""Seconds the server may take to stop; two are usual, and it has been seen to ignore SIGTERM."""

# A commit must survive `kill -9` of the server. By default it does not: the log is buffered in the process,
# and each of eight kills under load lost the last 16 to 79 acknowledged writes, up to 50 ms of them. With
# sync_on_commit none was lost. It calls fsync, so it is made for power cuts too; there is nothing in between.
# On two cores the single inserts of one client fall from 1,500/s to 1,050/s, of four from 1,500/s to 1,450/s.
CONFIG = """\
[storage]
sync_on_commit = true
cache_size = "256M"
"""


class DatabaseNode:
    """An embedded database server (SecantusDB) with its data below one directory, on 127.0.0.1 only.

    Stop or kill it and start it again: port and data stay. ProcessError when it is not installed.
    """

    def __init__(self, directory: Path, *, port: int | None = None, log: Path | None = None) -> None:
        self._directory = directory.resolve()
        self._port = port or free_port()
        self._child = Child("The database", self._argv(), log=log or self._directory / "mongodb.log")

    @property
    def url(self) -> str:
        """The URL for a MongoDB client, without retryable writes: they make this server much slower."""
        return f"mongodb://127.0.0.1:{self._port}/?directConnection=true&retryWrites=false"

    @property
    def children(self) -> tuple[Child, ...]:
        """The one process of the node."""
        return (self._child,)

    def start(self) -> None:
        """Start the process; `wait_ready` says when it can be used."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._config.write_text(CONFIG)
        self._child.start()

    def wait_ready(self) -> None:
        """Return once the server answers; ProcessError when it ends or takes too long."""
        client: MongoClient[dict[str, Any]]
        with MongoClient(self.url, serverSelectionTimeoutMS=500, connect=False) as client:
            wait_until(
                lambda: _is_primary(client), START_LIMIT, f"the database answers at {self.url}", self._child
            )

    def stop(self) -> None:
        """Shut the server down in order, with a limit; what was acknowledged is safe either way."""
        self._child.stop(STOP_LIMIT)

    def kill(self) -> None:
        """End the server with SIGKILL."""
        self._child.kill()

    @property
    def _config(self) -> Path:
        return self._directory / "secantusd.toml"

    def _argv(self) -> list[str]:
        program = Path(sys.executable).with_name("secantusd-py")
        if not program.exists():
            raise ProcessError(
                f"The embedded database is not installed: {program} was not found. Run `scripts/setup` (or "
                "`pip install -e '.[embedded]'`), or name a running MongoDB replica set, as in "
                "MONGODB_URL=mongodb://localhost:27017/?replicaSet=rs0"
            )
        options = {"config": self._config, "host": "127.0.0.1", "port": self._port}
        storage = self._directory / "data"
        return [str(program), *(f"--{k}={v}" for k, v in options.items()), f"--storage-path={storage}"]


def _is_primary(client: MongoClient[dict[str, Any]]) -> bool:
    try:
        client.admin.command("ping")
        return bool(client.admin.command("hello").get("isWritablePrimary"))
    except PyMongoError:
        return False
