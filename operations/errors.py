"""What an operator's tool says when something goes wrong."""

from saga.errors import SagaError


class CommandFailed(SagaError):
    """What went wrong and what to do about it, in one line for the person at the terminal."""
