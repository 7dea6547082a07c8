"""What the documentation says about the containers: the commands work, and the isolation is as described."""

import asyncio
import json

import pytest

from tests.support.containers import CONTAINERS, ContainerStack, documented
from tests.support.system import System, check_all_confirmed, in_progress, place_many

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]

MANY = 40


async def test_the_demo_runs_against_the_containers(
    system_of_containers: System, containers: ContainerStack
) -> None:
    printed = await asyncio.to_thread(containers.saga, "demo", "--json", "--orders", "20", "--timeout", "150")
    assert json.loads(printed)["problems"] == []


async def test_the_saga_command_places_and_shows_an_order(
    system_of_containers: System, containers: ContainerStack
) -> None:
    product = await system_of_containers.stock(north=2)
    order = ("order", "place", "--item", f"{product}:2", "--total", "25", "--wait", "60", "--json")
    printed = await asyncio.to_thread(containers.saga, *order)
    assert json.loads(printed)["status"] == "confirmed"


async def test_unfinished_sagas_go_on_after_down_and_up(
    system_of_containers: System, containers: ContainerStack
) -> None:
    product = await system_of_containers.stock(north=MANY)
    order_ids = await place_many(system_of_containers, product, MANY)
    await in_progress(system_of_containers, product, MANY)
    await asyncio.to_thread(containers.down)
    await asyncio.to_thread(containers.start)
    await check_all_confirmed(system_of_containers, product, order_ids, MANY)


def test_only_order_api_and_management_ui_are_published_locally() -> None:
    parts = documented()["services"]
    published = {name: part["ports"] for name, part in parts.items() if "ports" in part}
    assert set(published) == {"order", "rabbitmq"}
    assert [port["target"] for ports in published.values() for port in ports] == [8000, 15672]
    assert {port["host_ip"] for ports in published.values() for port in ports} == {"127.0.0.1"}


@pytest.mark.parametrize("service", CONTAINERS)
async def test_a_service_container_is_read_only_and_unprivileged(
    system_of_containers: System, containers: ContainerStack, service: str
) -> None:
    container = containers.service(service)
    found = container.inspect()
    assert found["Config"]["User"] == "saga"
    assert found["HostConfig"]["ReadonlyRootfs"] is True
    assert found["HostConfig"]["CapDrop"] == ["ALL"]
    assert found["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true"]
    with pytest.raises(AssertionError, match="Read-only file system"):
        container.run("touch", "/venv/anything")
    container.run("sh", "-c", "! command -v cc && ! command -v gcc && ! command -v ld")
