"""What the commands share: how they fail, and how they print."""

from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from saga.errors import SagaError


class CommandGroup(TyperGroup):
    """Ends a command that fails with one line on stderr and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; `ctx` is a context of click or of typer, depending on typer's version."""
        try:
            return super().invoke(ctx)
        except SagaError as error:
            typer.echo(f"saga: {error}", err=True)
            raise typer.Exit(1) from None


def print_plain(console: Console, *texts: str) -> None:
    """Print lines as they are, without markup, highlighting or wrapping."""
    for text in texts:
        console.print(text, markup=False, highlight=False, soft_wrap=True)
