"""`saga payments` on a running system."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.broker import until
from tests.support.system import System


async def saga(system: System, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run a command; return its exit code and its output."""
    program = str(Path(sys.executable).with_name("saga"))
    done = await asyncio.to_thread(
        subprocess.run,
        [program, *arguments, "--json"],
        env={**os.environ, "PAYMENT_URL": system.at.payment},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


async def test_a_pending_payment_shows_the_customers_action(system_of_processes: System) -> None:
    system = system_of_processes
    product = await system.stock(north=1)
    order_id = await system.place(product, 1, paymentMethod="sim:pending:3600")

    async def can_pay() -> bool:
        return bool((await system.payment(order_id)).get("pending"))

    await until(can_pay, "the customer can pay", limit=60)
    code, payment = await saga(system, "payments", "show", order_id)
    assert (code, payment["status"]) == (0, "charging")
    assert payment == await system.payment(order_id)
    await system.post(f"{system.at.order}/orders/{order_id}/cancel")
    assert (await system.ended(order_id))["status"] == "cancelled"


async def test_a_refused_refund_is_settled(system_of_processes: System) -> None:
    system = system_of_processes
    product = await system.stock(north=1)
    # Refused so often that the automatic retries would take more than half an hour.
    method = "sim:delay:2:refuse-refund:8"
    order_id = await system.place(product, 1, expiresIn=1, paymentMethod=method)
    await system.until_status(order_id, "refundPending")
    codes = []
    while 0 not in codes:
        code, payment = await saga(system, "payments", "refund", order_id)
        assert (code == 0) == (payment["status"] == "refunded")
        codes.append(code)
    assert len(codes) > 1
    assert (await system.ended(order_id))["status"] == "failed"
    again, payment = await saga(system, "payments", "refund", order_id)
    assert (again, payment["refundedAmount"]) == (0, "12.50")
