"""A command's session with the broker; what goes wrong becomes a line for the operator."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from operations.client import unreachable
from operations.errors import CommandFailed
from saga.errors import Unavailable
from saga.rabbitmq.errors import ConnectionLost, ObjectMissing
from saga.rabbitmq.session import Session, open_session

CONNECTION_NAME = "saga command line"
"""What the broker shows of a command's connection."""


@asynccontextmanager
async def broker_session(amqp_url: str, when_lost: str = "") -> AsyncIterator[Session]:
    """Connect to the broker for as long as the block lasts; `when_lost` says what a lost connection means.

    Raises:
        CommandFailed: the broker cannot be reached, or does not accept the user; or, from the block, the
            connection was lost, or the broker refuses or lacks something.
    """
    connected = False
    try:
        async with open_session(amqp_url, CONNECTION_NAME) as session:
            connected = True
            yield session
    except ObjectMissing as error:
        raise CommandFailed(f"{error}: is the stack up? its services declare it, see `saga up`") from None
    except ConnectionLost as error:
        if not connected:
            raise CommandFailed(unreachable(_without_password(amqp_url), error)) from None
        raise CommandFailed(f"{error}{when_lost}") from None
    except Unavailable as error:
        raise CommandFailed(str(error)) from None


def _without_password(amqp_url: str) -> str:
    parts = urlsplit(amqp_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
