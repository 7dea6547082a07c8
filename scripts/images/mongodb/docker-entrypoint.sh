#!/usr/bin/env python3
"""Starts SecantusDB as the official image's program of this name starts mongod.

At the first start it makes the root user of MONGO_INITDB_ROOT_USERNAME and MONGO_INITDB_ROOT_PASSWORD, who then
has to log in. The arguments are mongod's and are not looked at: SecantusDB is a replica set of one by itself.
"""

import os
import subprocess
import time
from pathlib import Path

from pymongo import MongoClient
from pymongo.errors import ConnectionFailure

DATA = Path("/data/db")
USER_MADE = DATA / ".root-user-made"
# Without sync-on-commit a killed server loses what it has acknowledged last; see local_stack/mongodb_node.py.
COMMAND = ["secantusd-py", "--storage-path", str(DATA), "--cache-size", "256M", "--sync-on-commit"]
START_LIMIT = 60
STOP_LIMIT = 10


def make_root_user(name: str, password: str) -> None:
    """Start the server where only this process can reach it, make the user, and stop it."""
    server = subprocess.Popen([*COMMAND, "--host", "127.0.0.1", "--port", "27018"])
    try:
        with MongoClient("127.0.0.1", 27018, directConnection=True, serverSelectionTimeoutMS=1000) as client:
            wait_for(client)
            client.admin.command("createUser", name, pwd=password, roles=["root"])
    finally:
        server.terminate()
        try:
            server.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
    USER_MADE.touch()


def wait_for(client: MongoClient) -> None:
    """Return once the server answers."""
    deadline = time.monotonic() + START_LIMIT
    while True:
        try:
            client.admin.command("ping")
            return
        except ConnectionFailure:
            if time.monotonic() > deadline:
                raise


name = os.environ.get("MONGO_INITDB_ROOT_USERNAME")
password = os.environ.get("MONGO_INITDB_ROOT_PASSWORD")
if name and password and not USER_MADE.exists():
    make_root_user(name, password)
login = ["--auth"] if USER_MADE.exists() else []
os.execvp(COMMAND[0], [*COMMAND, "--host", "0.0.0.0", "--port", "27017", *login])
