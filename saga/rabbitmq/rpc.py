"""Calls to the client library: what they raise when the broker has gone, and how long they may take."""

import asyncio
import re
import ssl
from collections.abc import Coroutine
from typing import Any, TypeVar

from aio_pika.exceptions import AMQPError, ChannelInvalidStateError

T = TypeVar("T")

# What the client library raises when the channel has gone; a delivery of that channel is void by then.
CONNECTION_ERRORS = (AMQPError, ChannelInvalidStateError, ConnectionError, RuntimeError, TimeoutError)


def explain_rejection(error: BaseException) -> str | None:
    """Return in a line what waiting does not mend, and what does; None: the broker is only away."""
    if isinstance(certificate := error.__cause__, ssl.SSLCertVerificationError):
        return (
            f"the broker's certificate is not accepted ({certificate.verify_message}): RABBITMQ_CA_FILE has "
            "to name the authority that issued it, and the URL a host that is named in it"
        )
    if re.search("OpenOk.*Connection.Close", str(error)):  # All that the client library tells of it.
        why = "it has no such virtual host, or not for this user"
    elif told := re.search("ACCESS_REFUSED - .*", str(error)):
        why = told[0]
    else:
        return None
    return (
        f"the broker refuses ({why}): it has to know this user, password and these rights, which "
        "`saga broker definitions` writes for it to load"
    )


async def run_shielded(call: Coroutine[Any, Any, T], limit: float) -> T:
    """Make a call, and never cancel it: neither when it takes too long nor when the caller is cancelled.

    Cancelled in the middle of an exchange with the broker, the library may swallow that, lose the whole
    connection, or never return (aiormq 7.2). A call left behind ends with its connection at the latest.

    Raises:
        TimeoutError: it has not ended after `limit` seconds.
        ConnectionError: the broker has hung up, or the library has cancelled the call, as it does when the
            broker was silent for too long. Taken for a cancellation of the caller, it would end the service.
    """
    task = asyncio.ensure_future(call)
    task.add_done_callback(_retrieved)
    done, _ = await asyncio.wait([task], timeout=limit)
    if not done:
        raise TimeoutError(f"no answer within {limit:g} s")
    if task.cancelled():
        raise ConnectionError("the broker has fallen silent")
    if is_clean_close(error := task.exception()):
        raise ConnectionError("the broker has hung up") from error
    return task.result()


def is_clean_close(error: BaseException | None) -> bool:
    """Tell whether this is all that the library says when a connection has ended in good order: `Exception`
    itself, if the end came while much was still to be read (aiormq 7.2)."""
    return type(error) is Exception


def _retrieved(task: "asyncio.Future[Any]") -> None:
    if not task.cancelled():
        task.exception()
