"""`saga broker definitions`: users, permissions, exchanges and queues for RabbitMQ to load."""

import json
import os
from typing import Annotated

import typer

from operations.access.broker_definitions import definitions, users
from operations.access.passwords import RABBITMQ, named, variable
from operations.registry import SPECS
from saga.messaging.users import ADMINISTRATOR, OPERATOR, PUBLISHER
from saga.settings import read

app = typer.Typer(help="Set up the broker.", no_args_is_help=True)

EPILOG = f"""\b
The users are: one for each service, with the service's name and only the permissions that it needs;
`{OPERATOR}` for the `saga` command and for operators; `{PUBLISHER}`, which can only start sagas; and
`{ADMINISTRATOR}`, with all permissions, if {variable(ADMINISTRATOR, RABBITMQ)} is set.
Their passwords come from variables such as {variable(OPERATOR, RABBITMQ)}; the output has their
salted hashes.

\b
RabbitMQ loads the file at each start (rabbitmq.conf: load_definitions = /path/definitions.json), or now:
  saga broker definitions > definitions.json
  rabbitmqctl import_definitions definitions.json
"""


@app.callback()
def broker() -> None:
    """Set up the broker."""


@app.command("definitions", epilog=EPILOG)
def definitions_command(
    vhost: Annotated[str, typer.Option(metavar="NAME", help="The virtual host that the services use.")] = "/",
) -> None:
    """Print the users, permissions, exchanges and queues of all services as JSON for RabbitMQ."""
    declared = [spec.topology(read(spec.settings).retry_delays) for spec in SPECS.values()]
    wanted = users(declared)
    if os.environ.get(variable(ADMINISTRATOR, RABBITMQ)):
        wanted.append(ADMINISTRATOR)
    passwords = named(wanted, RABBITMQ, os.environ)
    typer.echo(json.dumps(definitions(declared, passwords, vhost), indent=2))
