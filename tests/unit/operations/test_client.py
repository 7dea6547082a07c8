"""The client of the services: how long it waits, and what it says then."""

import httpx
import pytest

from operations import endpoints
from operations.client import SagaClient
from operations.errors import CommandFailed
from tests.support.command_line import ORDER


async def test_waiting_outlasts_an_unknown_order() -> None:
    answers = iter([httpx.Response(404, json={"title": "Not Found"}), httpx.Response(200, json=ORDER)])
    transport = httpx.MockTransport(lambda _: next(answers))
    async with SagaClient(endpoints.DEFAULTS, transport) as services:
        assert await services.ended("o-1", within=5) == ORDER


async def test_waiting_reports_an_unknown_order() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(404, json={"title": "Not Found"}))
    async with SagaClient(endpoints.DEFAULTS, transport) as services:
        with pytest.raises(CommandFailed, match="o-1 is unknown"):
            await services.ended("o-1", within=0.1)


async def test_readiness_names_the_service_and_its_problem() -> None:
    waiting = {"status": "not ready", "problems": ["broker: waiting for payment.events"]}
    transport = httpx.MockTransport(lambda _: httpx.Response(503, json=waiting))
    async with SagaClient(endpoints.DEFAULTS, transport) as services:
        with pytest.raises(CommandFailed, match=r":8001 answered 503 .*waiting for payment\.events"):
            await services.ready(within=0.1)
