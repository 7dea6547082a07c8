"""MongoDB for the local stack: an embedded server that speaks its protocol, as a process of its own."""

import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from local_stack.process import Child, ProcessFailed, free_port, wait_until
from operations.access.database_users import ROOT, make_root, make_users

START_LIMIT = 30.0
"""Seconds the server may take to start; half a second is usual."""

STOP_LIMIT = 5.0
"""Seconds the server may take to stop; two are usual, and it has been seen to ignore SIGTERM."""

# A commit must survive `kill -9` of the server. By default it does not: the log is buffered in the process,
# and each of eight kills under load lost the last 16 to 79 acknowledged writes, up to 50 ms of them. With
# sync_on_commit none was lost. It calls fsync, so it is made for power cuts too; there is nothing in between.
# On two cores the single inserts of one client fall from 1,500/s to 1,050/s, of four from 1,500/s to 1,450/s.
#
# With 100 MB of data a cache of 64 MB is as fast as one of 256 MB, since the system caches the files anyway,
# and the server takes 108 instead of 150 MB.
CONFIG = """\
[storage]
sync_on_commit = true
cache_size = "64M"
"""

# The oplog feeds change streams, which nothing here reads, with a copy of each document that is written.
# Without it an insert takes 11 % less CPU, a replacement 16 %, a document in a transaction 22 %, and the data
# half as much disk. Unlike MongoDB, this server needs no oplog for transactions.
WITHOUT_OPLOG = "--standalone"


class DatabaseNode:
    """An embedded database server (SecantusDB) with its data below one directory, on 127.0.0.1 only.

    After a stop or a kill it can be started again, on the same port and with its data. `passwords` are those
    of its users, and `databases` the name of each service's database (`operations.access.database_users`);
    without, no login is needed. `name` is what errors call it.

    Raises:
        ProcessFailed: it is not installed.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        log: Path | None = None,
        passwords: Mapping[str, str] | None = None,
        databases: Mapping[str, str] | None = None,
        name: str = "the database",
    ) -> None:
        self._name = name
        self._directory = directory.resolve()
        self._port = port or free_port()
        self._passwords = dict(passwords or {})
        self._databases = databases or {}
        self._users_made = False
        self._log = log or self._directory / "mongodb.log"
        locked = ["--auth"] if self._passwords else []
        self._child = Child(name, [*self._argv(self._port), *locked], log=self._log)

    @property
    def url(self) -> str:
        """The URL for a MongoDB client with all rights."""
        return self.url_of(ROOT) if self._passwords else self._url("", "")

    def url_of(self, user: str) -> str:
        """The URL for a client that logs in as one of its users; root's exists after the first start."""
        return self._url(f"{user}:{quote(self._passwords[user], safe='')}@", "authSource=admin&")

    @property
    def children(self) -> tuple[Child, ...]:
        """The one process of the node."""
        return (self._child,)

    def start(self) -> None:
        """Start the process; use the server after `wait_ready`."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._config.write_text(CONFIG)
        if self._passwords:
            self._load_root()
        self._child.start()

    def wait_ready(self) -> None:
        """Return once the server answers, and has its users.

        Raises:
            ProcessFailed: it has ended, or takes longer than `START_LIMIT`.
        """
        client: MongoClient[dict[str, Any]]
        with MongoClient(self.url, serverSelectionTimeoutMS=500, connect=False) as client:
            self._wait(client, self._child)
            if self._passwords and not self._users_made:
                make_users(self.url, self._databases, self._passwords)
                self._users_made = True

    def stop(self) -> None:
        """Shut the server down cleanly, with a limit; acknowledged writes are safe either way."""
        self._child.stop(STOP_LIMIT)

    def kill(self) -> None:
        """End the server with SIGKILL."""
        self._child.kill()

    @property
    def _config(self) -> Path:
        return self._directory / "secantusd.toml"

    def _url(self, login: str, options: str) -> str:
        # Without retryable writes: they make this server much slower.
        return f"mongodb://{login}127.0.0.1:{self._port}/?{options}directConnection=true&retryWrites=false"

    def _load_root(self) -> None:
        """Read root's password; at the first start, create root.

        A server without users lets every client in, so root is created while it listens on a random port.
        """
        file = self._directory / "root-password"
        if not file.exists():
            port, password = free_port(), secrets.token_urlsafe(24)
            child = Child(self._name, self._argv(port), log=self._log)
            child.start()
            try:
                client: MongoClient[dict[str, Any]]
                with MongoClient(
                    "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=500
                ) as client:
                    self._wait(client, child)
                    make_root(client, password)
            finally:
                child.kill()  # what is committed is safe, and a clean stop would take two seconds
            file.touch(mode=0o600)
            file.write_text(password)
        self._passwords[ROOT] = file.read_text()

    def _wait(self, client: MongoClient[dict[str, Any]], child: Child) -> None:
        wait_until(
            lambda: _is_primary(client), START_LIMIT, f"{self._name} answers at port {self._port}", child
        )

    def _argv(self, port: int) -> list[str]:
        program = Path(sys.executable).with_name("secantusd-py")
        if not program.exists():
            raise ProcessFailed(
                f"The embedded database is not installed: {program} was not found. Run `scripts/setup` (or "
                "`pip install -e '.[embedded]'`), or name a running MongoDB replica set, as in "
                "MONGODB_URL=mongodb://localhost:27017/?replicaSet=rs0"
            )
        options = {
            "config": self._config,
            "host": "127.0.0.1",
            "port": port,
            "storage-path": self._directory / "data",
        }
        return [str(program), WITHOUT_OPLOG, *(f"--{name}={value}" for name, value in options.items())]


def _is_primary(client: MongoClient[dict[str, Any]]) -> bool:
    try:
        client.admin.command("ping")
        return bool(client.admin.command("hello").get("isWritablePrimary"))
    except PyMongoError:
        return False
