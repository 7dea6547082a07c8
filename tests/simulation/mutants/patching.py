"""How a mutant replaces what the services do."""

from collections.abc import Callable
from typing import Any

import pytest

from events.catalogue import (
    EVENT_TYPES,
)
from saga.reactions.reaction import Rule

Patch = pytest.MonkeyPatch
Mutant = Callable[[Patch], None]
ANYTHING = EVENT_TYPES.values()


def put(patch: Patch, rule: Rule[Any, Any, *tuple[Any, ...]], react: Callable[..., Any]) -> None:
    """Have a rule call another function, which may publish whatever the services' reactions may."""
    patch.setattr(rule, "react", react)
    patch.setattr(rule, "publishes", ANYTHING)
