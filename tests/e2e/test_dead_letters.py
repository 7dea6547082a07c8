"""A saga that a dead letter holds up ends once the cause is fixed and the letter replayed."""

import os
import signal
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from local_stack.rabbitmq_node import BrokerNode
from local_stack.stack import Stack
from tests.support.broker import until, virtual_host
from tests.support.dead_letters import Commands
from tests.support.system import fresh_settings, running


async def test_a_replay_ends_the_saga_once_its_cause_is_fixed(
    broker_node: BrokerNode, mongodb_url: str, tmp_path: Path
) -> None:
    settings = {**fresh_settings(), "INVENTORY_RETRY_DELAYS": "0.1,0.2"}
    with virtual_host(broker_node) as broker:
        env = {
            "RABBITMQ_URL": broker.url,
            "RABBITMQ_MANAGEMENT_URL": broker_node.management_url,
            "MONGODB_URL": mongodb_url,
            **settings,
        }
        saga = Commands(broker.url, mongodb_url, "", tmp_path)
        async with running(Stack(tmp_path / "state", env=env), env) as system:
            saga.env |= {**env, "ORDER_URL": system.at.order}
            product = await system.stock(north=3)
            payment = system.stack.service("payment_service").pid
            os.kill(payment, signal.SIGSTOP)
            order_id = await system.place(product)
            await system.until_status(order_id, "reserved")
            set_status(mongodb_url, settings["INVENTORY_DATABASE"], order_id, "nonsense")
            os.kill(payment, signal.SIGCONT)

            async def dead_lettered() -> bool:
                return bool(await saga.ids("--order", order_id))

            await until(dead_lettered, "the confirmation is dead-lettered", 60)
            (preview,) = await saga.previews("inventory")
            assert preview == ("fails", None, None, [])
            shown = (await saga("show", "--service", "inventory")).stdout
            assert f"order:     {order_id}: paid" in shown
            assert "out of attempts: ValidationError" in shown

            set_status(mongodb_url, settings["INVENTORY_DATABASE"], order_id, "held")
            (preview,) = await saga.previews("inventory")
            assert preview == ("runs", "held", "allocated", ["InventoryConfirmed"])
            assert (await system.levels(product))["north"] == (2, 1, 0)
            await saga("replay", "--service", "inventory", "--order", order_id)
            assert (await system.ended(order_id))["status"] == "confirmed"
            assert (await system.levels(product))["north"] == (2, 0, 1)
            assert await saga.ids() == []


def set_status(mongodb_url: str, database: str, order_id: str, status: str) -> None:
    """Write the status of a reservation: to break it, as an operator might by mistake, and to repair it.

    Without another version, the service would not notice: it writes what it remembers under that version.
    """
    client: MongoClient[dict[str, Any]]
    with MongoClient(mongodb_url) as client:
        written = client[database].reservations.update_one(
            {"_id": order_id}, {"$set": {"state.status": status}, "$inc": {"version": 1}}
        )
        assert written.matched_count == 1
