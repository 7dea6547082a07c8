"""The database's users: one for each service with its own database, and one who only reads."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from operations.endpoints import without_password
from operations.errors import CommandFailed
from saga.mongodb.errors import first_line

AUDITOR = "auditor"
"""The user of the `saga` command: reads every service's database, and writes nothing."""
ROOT = "saga"
"""The user who creates the others."""
EXISTS = 51003
"""The server's error code for a user that exists already."""
ANSWER_SECONDS = 30
"""How long the server may take to answer."""

Role = dict[str, str]


def roles(databases: Mapping[str, str]) -> dict[str, list[Role]]:
    """Return what each user may do, given the database of each service."""
    return {
        **{service: [{"role": "readWrite", "db": name}] for service, name in databases.items()},
        AUDITOR: [{"role": "read", "db": name} for name in databases.values()],
    }


def by_server(urls: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the services of each server, by one of the URLs that name it.

    All users of a server are made at once: the auditor gets its rights to every database there.
    """
    first: dict[str, str] = {}
    services: dict[str, list[str]] = {}
    for service, url in urls.items():
        hosts = urlsplit(url).netloc.rpartition("@")[2]
        services.setdefault(first.setdefault(hosts, url), []).append(service)
    return services


def make_users(url: str, databases: Mapping[str, str], passwords: Mapping[str, str]) -> None:
    """Create the users; give existing ones these passwords and exactly these rights.

    Raises:
        CommandFailed: the server cannot be reached, or the user of the URL may not create users.
    """
    client: MongoClient[dict[str, Any]]
    try:
        with MongoClient(url, serverSelectionTimeoutMS=ANSWER_SECONDS * 1000) as client:
            for user, granted in roles(databases).items():
                _make(client, user, passwords[user], granted)
    except PyMongoError as error:
        raise CommandFailed(f"cannot create users at {without_password(url)}: {first_line(error)}") from None


def make_root(client: MongoClient[dict[str, Any]], password: str) -> None:
    """Create the user with all rights, or give it this password."""
    _make(client, ROOT, password, [{"role": "root", "db": "admin"}])


def _make(client: MongoClient[dict[str, Any]], user: str, password: str, granted: list[Role]) -> None:
    how: dict[str, Any] = {"pwd": password, "roles": granted}
    try:
        client.admin.command("createUser", user, **how)
    except OperationFailure as error:
        if error.code != EXISTS:
            raise
        client.admin.command("updateUser", user, **how)
