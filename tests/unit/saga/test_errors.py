"""The tree of exceptions, as `saga.errors` draws it."""

import importlib
import pkgutil
import re

import pytest

import saga.errors
from saga.errors import SagaError

PACKAGES = (
    "cli",
    "inventory_service",
    "local_stack",
    "operations",
    "order_service",
    "payment_service",
    "saga",
    "verification",
)


def subclasses(of: type[SagaError]) -> list[type[SagaError]]:
    return [kind for child in of.__subclasses__() for kind in (child, *subclasses(child))]


@pytest.fixture(scope="module")
def kinds() -> list[type[SagaError]]:
    """Every exception of the product, once each of its modules is imported."""
    for package in PACKAGES:
        root = importlib.import_module(package)
        for module in pkgutil.walk_packages(root.__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    return [kind for kind in subclasses(SagaError) if kind.__module__.partition(".")[0] in PACKAGES]


def test_docstring_draws_every_exception(kinds: list[type[SagaError]]) -> None:
    drawn = re.findall(r"[├└]── (\w+)", saga.errors.__doc__ or "")
    assert sorted(drawn) == sorted(kind.__name__ for kind in kinds)


def test_exceptions_are_named_without_a_suffix(kinds: list[type[SagaError]]) -> None:
    assert [kind for kind in kinds if kind.__name__.endswith(("Error", "Exception"))] == []
