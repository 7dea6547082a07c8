"""Requests that the OpenAPI documents allow, and many that they do not, sent to the real services."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from events.catalogue import INVENTORY, ORDER, PAYMENT, SERVICES
from tests.support.broker import Broker
from tests.support.services import ServiceProcess, run_service

CONFIG = Path(__file__).with_name("schemathesis.toml")
TOKEN = "for-every-scope-" * 2
SEED = int(os.environ.get("FUZZ_SEED", "20261124"))
EXAMPLES = 8
"""Random requests for each call, in addition to those at each limit of its document."""
LIMIT = 170.0


@pytest.fixture(scope="module")
def served(
    module_broker: Broker, mongodb_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, ServiceProcess]]:
    """The three services with tokens, on the real broker and database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGA_TOKENS", f"orders,stock,payments,operate:{TOKEN}")
        patch.setenv("PAYMENT_XENDIT_CALLBACK_TOKEN", TOKEN)
        directory = tmp_path_factory.mktemp("served")
        where = module_broker.url, mongodb_url, directory
        with (
            run_service(ORDER, *where) as order,
            run_service(INVENTORY, *where) as inventory,
            run_service(PAYMENT, *where) as payment,
        ):
            found = {ORDER: order, INVENTORY: inventory, PAYMENT: payment}
            for service in found.values():
                service.wait_ready()
            yield found


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_behaves_as_documented(
    served: dict[str, ServiceProcess], service: str, tmp_path: Path
) -> None:
    """No request causes a server error; every answer has a documented status, type and form."""
    alive = served[service]
    program = str(Path(sys.executable).with_name("schemathesis"))
    document = f"{alive.http.base_url}/openapi.json"
    options = ["--seed", str(SEED), "--max-examples", str(EXAMPLES), "--request-timeout", "30", "--no-color"]
    token = ["--header", f"Authorization: Bearer {TOKEN}", "--header", f"x-callback-token: {TOKEN}"]
    done = subprocess.run(
        [program, "--config-file", str(CONFIG), "run", document, *options, *token],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert alive.ready
    assert '"request_failed"' not in (alive.child.log or Path()).read_text()
