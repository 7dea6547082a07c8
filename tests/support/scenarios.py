"""The scenarios of the table, all played at the same time on a system."""

import asyncio
from collections.abc import Mapping
from uuid import uuid4

from operations.event_tap import recording
from operations.sample_stock import put
from tests.support.system import System
from verification.scenarios.scenario import ScenarioResult, ScenarioRun, play
from verification.scenarios.table import SCENARIOS, stock_for

Results = Mapping[str, ScenarioResult]
"""Each scenario's result, by the scenario's name."""

ORDER_TIMEOUT = 60.0
"""Seconds that an order may take."""


async def play_scenarios(system: System) -> Results:
    """Play every scenario, each with products of its own."""
    run = ScenarioRun(system.services, system.at, f"e2e-{uuid4().hex[:6]}", ORDER_TIMEOUT)
    await put(system.services, stock_for(run))
    async with recording(system.at.rabbitmq, "#") as recorder:
        results = await asyncio.gather(*(play(run, scenario, recorder) for scenario in SCENARIOS))
    return {result.scenario.name: result for result in results}
