"""The `saga` command: every command, with its help."""

import logging
import signal
import sys

import typer

from cli import broker as definitions
from cli import database as database_command
from cli import dead_letters, order, payments, stock
from cli.audit import EPILOG as AUDIT_EPILOG
from cli.audit import audit_command
from cli.bench import EPILOG as BENCH_EPILOG
from cli.bench import bench
from cli.chaos import EPILOG as CHAOS_EPILOG
from cli.chaos import chaos
from cli.console import CommandGroup
from cli.demo.command import EPILOG as DEMO_EPILOG
from cli.demo.command import demo
from cli.flow import EPILOG as FLOW_EPILOG
from cli.flow import flow
from cli.nudge import EPILOG as NUDGE_EPILOG
from cli.nudge import nudge
from cli.publish import EPILOG as PUBLISH_EPILOG
from cli.publish import publish
from cli.search import EPILOG as SEARCH_EPILOG
from cli.search import search
from cli.seed import seed
from cli.simulate import EPILOG as SIMULATE_EPILOG
from cli.simulate import simulate
from cli.up import up

EPILOG = """\b
First steps:
  saga demo                                        see it work
  saga up                                          keep a stack running, then in another terminal:
  saga seed                                        sample warehouses and stock
  saga order place --item tea:2 --total 25 --wait 10

\b
The commands use the services at ORDER_URL, INVENTORY_URL, PAYMENT_URL and RABBITMQ_URL; if these are not set,
those of a running `saga up` (its state is in SAGA_STATE, by default .saga); otherwise ports 8001, 8002, 8003
and 5672 of this machine.
"""

HELP_WIDTH = 110

app = typer.Typer(
    name="saga",
    cls=CommandGroup,
    help="Run, use and verify an order saga across three services with no coordinator.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": HELP_WIDTH},
)
app.command(short_help="Run the whole system until Ctrl-C.")(up)
app.command(epilog=DEMO_EPILOG, short_help="Play every scenario, then many orders at once.")(demo)
app.command(epilog=SIMULATE_EPILOG, short_help="Run the services under random faults, on virtual time.")(
    simulate
)
app.command(epilog=CHAOS_EPILOG, short_help="Inject faults into a private stack under load, then audit it.")(
    chaos
)
app.command(epilog=BENCH_EPILOG, short_help="Measure speed, and count what a saga costs.")(bench)
app.command("audit", epilog=AUDIT_EPILOG, short_help="Check every guarantee in the databases.")(audit_command)
app.command(epilog=SEARCH_EPILOG, short_help="Explore every state that one order can reach.")(search)
app.add_typer(order.app, name="order")
app.command(epilog=PUBLISH_EPILOG, short_help="Validate one event and publish it.")(publish)
app.command(epilog=NUDGE_EPILOG, short_help="Publish unanswered requests again.")(nudge)
app.add_typer(stock.app, name="stock")
app.add_typer(payments.app, name="payments")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(definitions.app, name="broker")
app.add_typer(database_command.app, name="database")
app.command(epilog="Example: saga seed --restock", short_help="Create sample warehouses and stock.")(seed)
app.command(epilog=FLOW_EPILOG, short_help="Print the saga as a Mermaid flow chart.")(flow)


def main() -> None:
    """Run the command line; an unforeseen error becomes one line and exit code 1.

    SIGTERM is handled like Ctrl-C, so that no command leaves its processes running.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Without a handler, an error that a library logs would be printed before our line.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        app(prog_name="saga")
    except Exception as error:
        print(f"saga: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
