"""The passwords of the users of the broker and the database; they come from the environment only."""

import secrets
from collections.abc import Collection, Mapping

from events.catalogue import short_name
from saga.errors import SagaError

RABBITMQ, MONGODB = "RABBITMQ", "MONGODB"


class PasswordsMissing(SagaError):
    """The text names the variables to set."""


def variable(user: str, server: str) -> str:
    """Return the environment variable of a user's password at a server: `ORDER_RABBITMQ_PASSWORD`."""
    return f"{short_name(user).upper()}_{server}_PASSWORD"


def url_variable(service: str, server: str) -> str:
    """Return the environment variable of one service's own URL of a server."""
    return f"{short_name(service).upper()}_{server}_URL"


def named(users: Collection[str], server: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the password of every user.

    Raises:
        PasswordsMissing: a password is missing; names the variables to set.
    """
    wanted = {user: variable(user, server) for user in users}
    if missing := [name for name in wanted.values() if not environment.get(name)]:
        raise PasswordsMissing(f"a password is missing: set {', '.join(missing)}")
    return {user: environment[name] for user, name in wanted.items()}


def named_or_made(users: Collection[str], server: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the password of every user, a new one where the environment has none."""
    return {user: environment.get(variable(user, server)) or secrets.token_urlsafe(24) for user in users}
