"""Opens a connection to the broker, and leaves nothing behind of one that did not come about."""

from typing import Any

from aio_pika import Connection
from aio_pika.connection import make_url


async def connect(url: str, name: str, **parameters: Any) -> Connection:
    """Connect to the broker, which shows the connection by this name.

    The parameters go to the library, as if they were in the URL.

    The library's own `connect` leaves a failed connection to the garbage collector, and that one wants to
    close it in whatever event loop there is by then, or in none (aio-pika 10.2).

    Raises:
        ValueError: what is in the URL cannot be used.
        aio_pika.exceptions.CONNECTION_EXCEPTIONS: the broker cannot be reached, or refuses.
    """
    connection = Connection(make_url(url, **parameters), client_properties={"connection_name": name})
    try:
        await connection.connect()
    except BaseException:
        await connection.close()
        raise
    return connection
