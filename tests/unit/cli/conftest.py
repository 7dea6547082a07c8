"""Commands without a running stack: the services' answers come from the test."""

from functools import partial
from itertools import chain
from pathlib import Path

import httpx
import pytest

from cli import nudge, order, payments, publish, seed, stock
from operations import endpoints
from operations.client import SagaClient
from tests.support.command_line import Answer, Handler


@pytest.fixture(autouse=True)
def no_stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let no test find a stack that happens to run."""
    for name in chain.from_iterable(endpoints.VARIABLES.values()):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("SAGA_TOKEN", raising=False)
    monkeypatch.setenv("SAGA_STATE", str(tmp_path))


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Give the commands services that answer as a handler does."""

    def install(handler: Handler) -> None:
        fake = partial(SagaClient, transport=httpx.MockTransport(handler))
        for module in (nudge, order, payments, publish, seed, stock):
            monkeypatch.setattr(module, "SagaClient", fake)

    return install
