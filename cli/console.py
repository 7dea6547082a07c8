"""What the commands share: running their work, and printing."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import typer
from rich.console import Console

from operations.errors import CommandFailed

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; a failure becomes one line on stderr and exit code 1."""
    try:
        return asyncio.run(work)
    except CommandFailed as failure:
        typer.echo(f"saga: {failure}", err=True)
        raise typer.Exit(1) from None


def print_plain(console: Console, *texts: str) -> None:
    """Print lines as they are, without markup, highlighting or wrapping."""
    for text in texts:
        console.print(text, markup=False, highlight=False, soft_wrap=True)
