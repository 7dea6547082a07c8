"""The doors of the real services: tokens, limits, and what is open to everybody."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from events.catalogue import INVENTORY, ORDER, PAYMENT, SERVICES
from local_stack.process import free_port
from operations.registry import SPECS
from saga.http.body_limit import MAX_BODY
from tests.support.broker import Broker
from tests.support.services import ServiceProcess, check_problem, run_service

TOKENS = {scope: f"{scope}-" * 6 for scope in ("orders", "stock", "payments", "operate")}
ORDER_BODY = {"userId": "u-1", "items": [{"productId": "tea", "quantity": 1}], "totalAmount": "1.00"}
BURST = 3

SCOPES: dict[str, dict[tuple[str, str], str]] = {
    ORDER: {
        ("POST", "/orders"): "orders",
        ("GET", "/orders"): "orders",
        ("GET", "/orders/o-1"): "orders",
        ("POST", "/orders/o-1/cancel"): "orders",
        ("POST", "/orders/o-1/nudge"): "operate",
        ("POST", "/nudge"): "operate",
        ("GET", "/books"): "operate",
        ("GET", "/metrics"): "operate",
    },
    INVENTORY: {
        ("POST", "/reservations"): "stock",
        ("GET", "/reservations/o-1"): "stock",
        ("POST", "/reservations/o-1/confirm"): "stock",
        ("POST", "/reservations/o-1/release"): "stock",
        ("GET", "/stock"): "stock",
        ("PUT", "/stock/w-1/tea"): "stock",
        ("GET", "/warehouses"): "stock",
        ("PUT", "/warehouses"): "stock",
        ("GET", "/metrics"): "operate",
    },
    PAYMENT: {
        ("POST", "/payments"): "payments",
        ("GET", "/payments/o-1"): "payments",
        ("POST", "/payments/o-1/refund"): "payments",
        ("GET", "/books"): "operate",
        ("GET", "/metrics"): "operate",
    },
}
"""The scope of each call; the ids in the paths do not exist."""

CALLS = [(service, *call, scope) for service, calls in SCOPES.items() for call, scope in calls.items()]


@pytest.fixture(scope="module")
def guarded(
    module_broker: Broker, mongodb_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, ServiceProcess]]:
    """The three services, with tokens."""
    file = tmp_path_factory.mktemp("tokens") / "tokens"
    file.write_text("".join(f"{scope}:{token}\n" for scope, token in TOKENS.items()))
    settings = {"rate": "0.001", "burst": str(BURST)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGA_TOKENS_FILE", str(file))
        directory = tmp_path_factory.mktemp("guarded")
        with (
            run_service(ORDER, module_broker.url, mongodb_url, directory, **settings) as order,
            run_service(INVENTORY, module_broker.url, mongodb_url, directory) as inventory,
            run_service(PAYMENT, module_broker.url, mongodb_url, directory) as payment,
        ):
            found = {ORDER: order, INVENTORY: inventory, PAYMENT: payment}
            for service in found.values():
                service.wait_ready()
            yield found


def bearer(scope: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[scope]}"}


@pytest.mark.parametrize(("service", "method", "path", "scope"), CALLS)
def test_a_call_needs_a_token_of_its_scope(
    guarded: dict[str, ServiceProcess], service: str, method: str, path: str, scope: str
) -> None:
    http = guarded[service].http
    check_problem(http.request(method, path), 401)
    check_problem(http.request(method, path, headers={"Authorization": "Bearer unknown"}), 401)
    for other in TOKENS.keys() - {scope}:
        check_problem(http.request(method, path, headers=bearer(other)), 403)
    # An unknown id gives 404, a missing body 422: either way the call was let in.
    assert http.request(method, path, headers=bearer(scope)).status_code in (200, 202, 404, 422)


@pytest.mark.parametrize("service", SERVICES)
def test_every_call_of_the_api_is_listed_here(guarded: dict[str, ServiceProcess], service: str) -> None:
    paths = guarded[service].http.get("/openapi.json").json()["paths"]
    declared = Counter(
        (method.upper(), rule["bearer"][0])
        for operations in paths.values()
        for method, operation in operations.items()
        for rule in operation["security"]
        if "bearer" in rule
    )
    assert declared == Counter((method, scope) for (method, _), scope in SCOPES[service].items())


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/docs"])
def test_health_and_documents_are_open(guarded: dict[str, ServiceProcess], service: str, path: str) -> None:
    assert guarded[service].http.get(path).status_code == 200


@pytest.mark.parametrize("length", [MAX_BODY + 1, 20 * MAX_BODY])
@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize(
    ("service", "path", "scope"),
    [(ORDER, "/orders", "orders"), (INVENTORY, "/reservations", "stock"), (PAYMENT, "/payments", "payments")],
)
def test_a_body_that_is_too_long_is_refused(
    guarded: dict[str, ServiceProcess], service: str, path: str, scope: str, announced: bool, length: int
) -> None:
    def pieces() -> Iterator[bytes]:
        for start in range(0, length, 16384):
            yield b" " * min(16384, length - start)

    http = guarded[service].http
    headers = bearer(scope) | {"content-type": "application/json"}
    answer = http.post(path, content=b" " * length if announced else pieces(), headers=headers)
    check_problem(answer, 413)
    assert guarded[service].lives


def test_placing_orders_too_fast_gives_429_and_the_time_to_wait(guarded: dict[str, ServiceProcess]) -> None:
    answers = [
        guarded[ORDER].http.post("/orders", json=ORDER_BODY, headers=bearer("orders"))
        for _ in range(BURST + 1)
    ]
    check_problem(answers[-1], 429)
    assert int(answers[-1].headers["retry-after"]) > 0
    shown = guarded[ORDER].http.get("/orders", headers=bearer("orders"))
    assert shown.status_code == 200


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_open_to_others_does_not_start_without_tokens(service: str) -> None:
    prefix = SPECS[service].env_prefix
    port = free_port()
    env = {**os.environ, f"{prefix}HOST": "0.0.0.0", f"{prefix}PORT": str(port)}  # noqa: S104
    env.pop("SAGA_TOKENS", None)
    env.pop("SAGA_TOKENS_FILE", None)
    ended = subprocess.run(
        [sys.executable, "-m", service], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("SAGA_TOKENS: missing")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)
