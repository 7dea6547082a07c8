"""`saga flow`: print the saga as a flow chart."""

from pathlib import Path
from typing import Annotated

import typer

from operations.flow_chart import block, mermaid
from operations.generated import markers, replaced

EPILOG = "Example: saga flow --into docs/architecture.md"
START, END = markers("flow")


def flow(
    into: Annotated[
        Path | None,
        typer.Option(
            help=f"Write the chart into this file, between the lines {START} and {END}.", dir_okay=False
        ),
    ] = None,
) -> None:
    """Print the whole saga as a Mermaid flow chart, generated from the reactions of the services."""
    if into is None:
        typer.echo(mermaid())
        return
    try:
        into.write_text(replaced(into.read_text("utf-8"), "flow", block()), "utf-8")
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{into}: {error}", param_hint="--into") from None
