"""`saga database users`: the users of the database and their permissions."""

import os

import typer

from events.catalogue import ORDER
from operations.access.database_users import AUDITOR, by_server, make_users
from operations.access.passwords import MONGODB, named, url_variable, variable
from operations.endpoints import find
from operations.registry import SPECS
from saga.settings import read

app = typer.Typer(help="Set up the database.", no_args_is_help=True)

EPILOG = f"""\b
The users are: one for each service, with the service's name, which reads and writes its own database only;
and `{AUDITOR}` for the `saga` command, which reads all three. They log in with authSource=admin. Their
passwords come from variables such as {variable(ORDER, MONGODB)}. The user of MONGODB_URL needs the right to
create users. A service whose database is on a server of its own, named by a variable such as
{url_variable(ORDER, MONGODB)}, becomes a user there, and `{AUDITOR}` a user of each server. Run the command
again after a password has changed.
"""


@app.callback()
def database() -> None:
    """Set up the database."""


@app.command("users", epilog=EPILOG)
def users() -> None:
    """Create the users of the services and of the audit, or update their passwords and permissions."""
    urls = find().mongodb_by_service
    databases = {name: read(spec.settings).database for name, spec in SPECS.items()}
    passwords = named([*databases, AUDITOR], MONGODB, os.environ)
    for url, services in by_server(urls).items():
        make_users(url, {service: databases[service] for service in services}, passwords)
    for service, name in databases.items():
        typer.echo(f"{service} reads and writes {name}")
    typer.echo(f"{AUDITOR} reads {', '.join(databases.values())}")
