"""How long the body of a request may be."""

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from events.codec import MAX_BYTES

MAX_BODY = MAX_BYTES
"""Bytes of the longest body: as many as of the longest event."""


def limited(request: Request) -> Receive:
    """Return a `receive` for the body of a request that stops once the body is too long.

    Raises:
        HTTPException: 413, here if the request announces a longer body, else while it is received.
    """
    too_long = HTTPException(413, f"the body of a request may have {MAX_BODY} bytes")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MAX_BODY:
        raise too_long
    left = MAX_BODY

    async def receive() -> Message:
        nonlocal left
        message = await request.receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise too_long
        return message

    return receive
