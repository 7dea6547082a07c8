"""The error of a command."""

from saga.errors import SagaError


class CommandFailed(SagaError):
    """A command cannot go on; the text says in one line why, and what to do."""
