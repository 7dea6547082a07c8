"""The clock of the simulated provider under test."""

import asyncio
from types import SimpleNamespace

import pytest

from tests.support.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    # Only for the provider: other tasks of the tests' event loop sleep, too.
    its_asyncio = SimpleNamespace(sleep=clock.sleep, Event=asyncio.Event, create_task=asyncio.create_task)
    monkeypatch.setattr("payment_service.providers.simulated.asyncio", its_asyncio)
    return clock
