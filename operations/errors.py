"""What an operator's tool says when something goes wrong."""


class CommandError(Exception):
    """What went wrong and what to do about it, in one line for the person at the terminal."""
