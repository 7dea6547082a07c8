"""What a service logs: one JSON object a line, from the level that was asked for on."""

import json
import subprocess
import sys

PROGRAM = """
import logging
from decimal import Decimal
import structlog
from saga import logs

log = structlog.get_logger()
logs.configure("order_service", "info")
log.debug("hidden")
log.info("step_run", order_id="o-1", emitted=["PaymentRequested"], amount=Decimal("25.00"), error=None)
logging.getLogger("library").warning("odd")
try:
    raise ValueError("a mistake")
except ValueError:
    log.exception("handling_failed")
"""


def test_each_line_is_an_object_with_service_level_and_time() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    assert not run.stdout
    step, library, failure = [json.loads(line) for line in run.stderr.splitlines()]
    assert step.pop("timestamp").endswith("Z")
    assert step == {
        "event": "step_run",
        "service": "order_service",
        "level": "info",
        "order_id": "o-1",
        "emitted": ["PaymentRequested"],
        "amount": "Decimal('25.00')",
        "error": None,
    }
    assert (library["event"], library["level"], library["service"]) == ("odd", "warning", "order_service")
    assert (failure["event"], failure["level"]) == ("handling_failed", "error")
    assert "ValueError: a mistake" in failure["exception"]
