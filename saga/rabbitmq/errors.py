"""What the client library raises, as errors of this package: no message is to blame for any of them."""

import asyncio
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from aio_pika.exceptions import AMQPError, ChannelInvalidStateError
from aiormq.exceptions import ChannelNotFoundEntity

from saga.errors import Unavailable

CONNECTION_ERRORS = (AMQPError, ChannelInvalidStateError, ConnectionError, RuntimeError, TimeoutError)
"""What the client library raises when the channel was lost; a delivery of that channel is void by then."""


class Rejected(Unavailable):
    """The broker does not accept this user, or not what it asks for; the text says how to fix it."""


class ObjectMissing(Unavailable):
    """The broker has no such exchange or queue."""


class Unroutable(Unavailable):
    """No queue takes a message."""


class Unconfirmed(Unavailable):
    """The broker has not accepted a message."""


class ConnectionLost(Unavailable):
    """The broker cannot be reached, or no longer."""


def as_unavailable(error: BaseException) -> Unavailable | None:
    """Return what an error of the client library means; None if it is no error of the connection.

    A call that is cancelled counts as one: the library cancels it when the broker was silent for too long.
    """
    if explanation := explain_rejection(error):
        return Rejected(explanation)
    if isinstance(error, ChannelNotFoundEntity):
        missing = re.search("no (exchange|queue) '[^']*'", str(error))
        return ObjectMissing(f"the broker has {missing[0] if missing else str(error)}")
    if isinstance(error, (*CONNECTION_ERRORS, asyncio.CancelledError)) or is_clean_close(error):
        return ConnectionLost(f"the connection to the broker was lost ({error!r})")
    return None


@contextmanager
def translate_driver_errors() -> Iterator[None]:
    """Raise what the client library raises within the block as `Unavailable`."""
    try:
        yield
    except CONNECTION_ERRORS as error:
        raise as_unavailable(error) or error from error


def explain_rejection(error: BaseException) -> str | None:
    """Explain in a line a rejection that retrying cannot fix; None if the broker is merely unreachable."""
    if isinstance(certificate := error.__cause__, ssl.SSLCertVerificationError):
        return (
            f"the broker's certificate is not accepted ({certificate.verify_message}): RABBITMQ_CA_FILE has "
            "to name the authority that issued it, and the URL a host that is named in it"
        )
    if re.search("OpenOk.*Connection.Close", str(error)):  # The client library gives no other reason.
        reason = "it has no such virtual host, or this user may not use it"
    elif refused := re.search("ACCESS_REFUSED - .*", str(error)):
        reason = refused[0]
    else:
        return None
    return (
        f"the broker refuses ({reason}): create the user and its permissions: "
        "load the output of `saga broker definitions`"
    )


def is_clean_close(error: BaseException | None) -> bool:
    """Tell whether this is all that the library raises when a connection was closed in good order:
    `Exception` itself, if the end came while much was still to be read (aiormq 7.2)."""
    return type(error) is Exception
