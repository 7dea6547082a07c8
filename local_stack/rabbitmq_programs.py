"""The programs of an installed RabbitMQ, wherever the system has put them."""

import shutil
from pathlib import Path

from local_stack.process import ProcessFailed

USUAL_PLACES = (
    Path("/usr/lib/rabbitmq/bin"),  # Debian, Ubuntu, Fedora
    Path("/opt/rabbitmq/sbin"),  # the Docker image
    Path("/opt/homebrew/opt/rabbitmq/sbin"),
    Path("/usr/local/opt/rabbitmq/sbin"),
)

NOT_INSTALLED = (
    "RabbitMQ is not installed: {missing} was not found. Install it (Debian, Ubuntu: `scripts/setup --system "
    "rabbitmq-server` as root; macOS: `brew install rabbitmq`), start Docker, or name a running one, as in "
    "RABBITMQ_URL=amqp://guest:guest@localhost:5672/"
)


def is_installed() -> bool:
    """Tell whether this machine can run a private node."""
    try:
        find_server()
        find_epmd()
    except ProcessFailed:
        return False
    return True


def find_server() -> Path:
    """Return RabbitMQ's own start script.

    Never the wrapper in /usr/sbin, which changes the user and swallows signals: the directory of the real
    script also has `rabbitmq-env`.

    Raises:
        ProcessFailed: it was not found; says what to install.
    """
    places = list(USUAL_PLACES)
    if control := shutil.which("rabbitmqctl"):
        places.append(Path(control).resolve().parent)
    for place in places:
        if (place / "rabbitmq-env").exists() and (place / "rabbitmq-server").exists():
            return place / "rabbitmq-server"
    raise ProcessFailed(NOT_INSTALLED.format(missing="rabbitmq-server"))


def find_epmd() -> str:
    """Return Erlang's port mapper, which need not be on the PATH, but is always in the directory of `erl`.

    Raises:
        ProcessFailed: it was not found; says what to install.
    """
    erl = shutil.which("erl")
    directory = str(Path(erl).resolve().parent) if erl else None
    program = shutil.which("epmd") or shutil.which("epmd", path=directory)
    if erl is None or program is None:
        raise ProcessFailed(NOT_INSTALLED.format(missing="Erlang's epmd"))
    return program
