"""Back-pressure at the door: while messages pile up, no order is accepted."""

from pathlib import Path

from events.catalogue import INVENTORY, ORDER
from tests.integration.order_service.driver import ORDER_BODY
from tests.support.broker import BrokerAddress, until, virtual_host
from tests.support.services import NEVER, check_problem, run_service, stand_in_for_others

BACKLOG = 3


async def test_orders_beyond_the_backlog_get_503_until_it_is_handled(
    broker_node: BrokerAddress, mongodb_url: str, tmp_path: Path
) -> None:
    settings = {"nudge_after": NEVER, "backlog_limit": str(BACKLOG)}
    with (
        virtual_host(broker_node) as broker,
        run_service(ORDER, broker.url, mongodb_url, tmp_path, **settings) as service,
    ):
        async with broker.connected() as client:
            await stand_in_for_others(client, ORDER)
            service.wait_ready()
            placed = [service.http.post("/orders", json=ORDER_BODY) for _ in range(BACKLOG)]
            assert [answer.status_code for answer in placed] == [202] * BACKLOG

            async def all_wait() -> bool:
                return await client.depth(INVENTORY) == BACKLOG

            await until(all_wait, "every request waits for inventory")
            rejected = service.http.post("/orders", json=ORDER_BODY)
            check_problem(rejected, 503)
            assert int(rejected.headers["retry-after"]) > 0
            assert service.http.get("/orders").is_success
            await (await client.channel.get_queue(INVENTORY)).purge()
            await until(
                lambda: service.http.post("/orders", json=ORDER_BODY).status_code == 202,
                "orders are accepted",
            )
