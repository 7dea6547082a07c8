"""Who logs in at the database: each service, for its own database, and one user who only reads."""

from collections.abc import Mapping
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure

AUDITOR = "auditor"
"""The user of the `saga` command: reads every service's database, and writes nothing."""
ROOT = "saga"
"""The user who makes the others."""
EXISTS = 51003
"""The server's code for a user that is there already."""

Role = dict[str, str]


def roles(databases: Mapping[str, str]) -> dict[str, list[Role]]:
    """Return what each user may do, given the database of each service."""
    return {
        **{service: [{"role": "readWrite", "db": name}] for service, name in databases.items()},
        AUDITOR: [{"role": "read", "db": name} for name in databases.values()],
    }


def make_users(
    client: MongoClient[dict[str, Any]], databases: Mapping[str, str], passwords: Mapping[str, str]
) -> None:
    """Make the users, or give those that are there these passwords and rights, and no others.

    Raises:
        PyMongoError: the server is away, or whoever is logged in may not do that.
    """
    for user, granted in roles(databases).items():
        _make(client, user, passwords[user], granted)


def make_root(client: MongoClient[dict[str, Any]], password: str) -> None:
    """Make the user who may do everything, or give it this password."""
    _make(client, ROOT, password, [{"role": "root", "db": "admin"}])


def _make(client: MongoClient[dict[str, Any]], user: str, password: str, granted: list[Role]) -> None:
    how: dict[str, Any] = {"pwd": password, "roles": granted}
    try:
        client.admin.command("createUser", user, **how)
    except OperationFailure as error:
        if error.code != EXISTS:
            raise
        client.admin.command("updateUser", user, **how)
