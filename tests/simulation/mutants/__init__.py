"""Bugs that the proofs must find, each a function that patches it into the services."""

import inspect

from tests.simulation.mutants import inventory, kernel, orders, payments
from tests.simulation.mutants.patching import Mutant


def mutants() -> list[Mutant]:
    """Return all of them."""
    return [
        function
        for module in (orders, inventory, payments, kernel)
        for _, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and [*inspect.signature(function).parameters] == ["patch"]
    ]
