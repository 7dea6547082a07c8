"""An engine on a store in memory."""

import pytest

from saga.reactions.engine import Engine
from tests.support.accounts import Account, Context, MemoryStore
from tests.support.builders import NOW
from tests.support.clock import Clock


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no step wait after a write conflict."""
    monkeypatch.setattr("saga.reactions.engine.FIRST_PAUSE", 0.0)
    monkeypatch.setattr("saga.reactions.engine.LONGEST_PAUSE", 0.0)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def engine(store: MemoryStore) -> Engine[Account, Context]:
    return Engine("test_service", store, Clock(NOW, tick=1.0005))
