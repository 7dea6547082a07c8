"""`saga broker definitions`: what RabbitMQ has to know of users, rights, exchanges and queues."""

import json
import os
from typing import Annotated

import typer

from operations.access.broker_definitions import definitions, users
from operations.access.passwords import RABBITMQ, PasswordsMissing, named, variable
from operations.registry import SPECS
from saga.messaging.users import ADMINISTRATOR, OPERATOR
from saga.settings import read

app = typer.Typer(help="What the broker has to know.", no_args_is_help=True)

EPILOG = f"""\b
One user a service, called as its queue is, so that each can do its own part and no more; `operator` for the
`saga` command and for people; `publisher`, who can start sagas and nothing else. Their passwords come from
the environment, as in {variable(OPERATOR, RABBITMQ)}, and are written salted and hashed. With
{variable(ADMINISTRATOR, RABBITMQ)} there is also an administrator, who may do everything.

\b
Have RabbitMQ load the file at each start (rabbitmq.conf: load_definitions = /its/path), or now:
  saga broker definitions > definitions.json
  rabbitmqctl import_definitions definitions.json
"""


@app.callback()
def broker() -> None:
    """What the broker has to know."""


@app.command("definitions", epilog=EPILOG)
def definitions_command(
    vhost: Annotated[str, typer.Option(help="The virtual host of the system.")] = "/",
) -> None:
    """Print RabbitMQ's definitions, made from the reaction tables, as JSON."""
    declared = [spec.topology(read(spec.settings).retry_delays) for spec in SPECS.values()]
    wanted = users(declared)
    if os.environ.get(variable(ADMINISTRATOR, RABBITMQ)):
        wanted.append(ADMINISTRATOR)
    try:
        passwords = named(wanted, RABBITMQ, os.environ)
    except PasswordsMissing as failure:
        typer.echo(f"saga: {failure}", err=True)
        raise typer.Exit(1) from None
    typer.echo(json.dumps(definitions(declared, passwords, vhost), indent=2))
