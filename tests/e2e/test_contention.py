"""Everybody wants the last units of one product."""

import asyncio
from collections import Counter
from pathlib import Path
from uuid import uuid4

import pytest

from benchmarks.contention import CUSTOMERS, WAREHOUSE, conflicts, sell_out
from local_stack.stack import Stack
from operations.client import SagaClient
from tests.support.broker import BrokerAddress, virtual_host
from tests.support.system import fresh_settings, running

UNITS = 100


@pytest.mark.timeout(400)
async def test_three_replicas_sell_the_last_hundred_units_once_each(
    broker_node: BrokerAddress, mongodb_url: str, tmp_path: Path
) -> None:
    product = f"hot-{uuid4().hex[:12]}"
    with virtual_host(broker_node) as broker:
        settings = fresh_settings()
        env = {
            "RABBITMQ_URL": broker.url,
            "RABBITMQ_MANAGEMENT_URL": broker_node.management_url,
            "MONGODB_URL": mongodb_url,
            **settings,
        }
        stack = Stack(tmp_path, env=env)
        async with running(stack, settings) as system, SagaClient(system.at) as services:
            replicas = [system.at.inventory]
            for _ in range(2):
                replicas.append(await asyncio.to_thread(stack.start_replica, "inventory_service"))
            sale = await sell_out(services, {product: UNITS}, CUSTOMERS)
            assert Counter(sale.ends.values()) == {"confirmed": UNITS, "failed": CUSTOMERS}
            assert await system.levels(product) == {WAREHOUSE: (0, 0, UNITS)}
            report = await system.audited(list(sale.ends), product)
            assert (report.broken, report.judged) == ({}, UNITS + CUSTOMERS)
            assert await conflicts(replicas) > 0, "there was no conflict: this has proven nothing"
