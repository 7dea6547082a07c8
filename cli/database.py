"""`saga database users`: who may log in at the database, and what each may do there."""

import os

import typer

from operations.access.database_users import AUDITOR, make_users
from operations.access.passwords import MONGODB, PasswordsMissing, named, variable
from operations.endpoints import find, without_password
from operations.errors import CommandFailed
from operations.registry import SPECS
from saga.settings import read

app = typer.Typer(help="Who may log in at the database.", no_args_is_help=True)

EPILOG = f"""\b
One user a service, called as the service is, who reads and writes its own database and no other; `{AUDITOR}`
for the `saga` command, who reads all three. They log in with authSource=admin. The passwords come from the
environment, as in {variable("order_service", MONGODB)}; MONGODB_URL has to log in as somebody who may make
users. Safe to run again, as after a password was changed.
"""


@app.callback()
def database() -> None:
    """Who may log in at the database."""


@app.command("users", epilog=EPILOG)
def users() -> None:
    """Make the users of the services and of the audit, or give them these passwords and rights."""
    url = find().mongodb
    databases = {name: read(spec.settings).database for name, spec in SPECS.items()}
    try:
        passwords = named([*databases, AUDITOR], MONGODB, os.environ)
        make_users(url, databases, passwords)
    except PasswordsMissing as failure:
        typer.echo(f"saga: {failure}", err=True)
        raise typer.Exit(1) from None
    except CommandFailed as failure:
        typer.echo(f"saga: cannot make users at {without_password(url)}: {failure}", err=True)
        raise typer.Exit(1) from None
    for service, name in databases.items():
        typer.echo(f"{service} reads and writes {name}")
    typer.echo(f"{AUDITOR} reads {', '.join(databases.values())}")
