"""Where every task of the tests' event loop waits, for the report of a test that hangs."""

import asyncio
from collections.abc import Iterator
from types import FrameType


def waiting_tasks(loop: asyncio.AbstractEventLoop) -> str:
    """Return a paragraph a task: what it is, and each coroutine that waits, the outermost first."""
    return "\n\n".join(
        "\n".join([repr(task), *map(_place, _frames(task.get_coro()))]) for task in asyncio.all_tasks(loop)
    )


def _frames(awaited: object) -> Iterator[FrameType]:
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None:
            yield frame
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)


def _place(frame: FrameType) -> str:
    return f"    {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}"
