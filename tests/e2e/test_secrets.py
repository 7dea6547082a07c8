"""No secret, token or card number in a log or an event.

Everything that can have a secret is given one, and all that is written is searched for it.
"""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import get_args
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from events.catalogue import ORDER, SERVICES
from local_stack.stack import Stack
from operations.access.database_users import AUDITOR
from operations.access.passwords import MONGODB, RABBITMQ, url_variable, variable
from operations.registry import SPECS
from saga.messaging.topology import exchange_of
from saga.messaging.users import OPERATOR
from tests.support.broker import Broker, BrokerAddress, Client, until, virtual_host
from tests.support.services import run_service
from tests.support.system import System, ended_all, fresh_settings, order, running
from tests.support.users import at, load_users

SECRET = "s3cret"
"""What every secret of this run has in it, and nothing else."""
CARD = "4111111111111111"
TOKEN = f"orders-stock-payments-{SECRET}"
MANY = 10


def secret_variables(service: str) -> set[str]:
    """Return the environment variables of every setting of a service that is a secret."""
    kind = SPECS[service].settings
    prefix = kind.model_config.get("env_prefix", "")
    return {
        str(field.validation_alias or f"{prefix}{name}".upper())
        for name, field in kind.model_fields.items()
        if SecretStr in (field.annotation, *get_args(field.annotation))
    }


def secrets(file: Path) -> dict[str, str]:
    """Return a recognisable secret for every setting that takes one but the URLs, which carry passwords."""
    named = {name for service in SERVICES for name in secret_variables(service)}
    file.write_text(f"operate:in-a-file-of-its-own-{SECRET}\n")
    return {
        **{name: f"{SECRET}-{name.lower()}" for name in named if not name.endswith("_URL")},
        **{variable(user, MONGODB): f"{SECRET}-of-{user}" for user in (*SERVICES, AUDITOR)},
        "SAGA_TOKENS": f"orders,stock,payments,operate:{TOKEN}",
        "SAGA_TOKENS_FILE": str(file),
    }


@pytest.fixture
def users_broker(broker_node: BrokerAddress) -> Iterator[Broker]:
    """A virtual host whose users have recognisable passwords."""
    with virtual_host(broker_node) as broker:
        yield load_users(broker)


@pytest.fixture
async def whole_run(
    users_broker: Broker, broker_node: BrokerAddress, tmp_path: Path
) -> AsyncIterator[System]:
    """A system of which every part has secrets, with its most talkative logs."""
    env = {
        **secrets(tmp_path / "tokens"),
        "RABBITMQ_URL": at(users_broker, OPERATOR).url,
        "RABBITMQ_MANAGEMENT_URL": broker_node.management_url,
        **{url_variable(service, RABBITMQ): at(users_broker, service).url for service in SERVICES},
        "LOG_LEVEL": "debug",
        **fresh_settings(),
    }
    async with running(Stack(tmp_path / "state", env=env), env, TOKEN) as system:
        yield system


def test_every_secret_setting_is_in_the_run(tmp_path: Path) -> None:
    given = secrets(tmp_path / "tokens")
    for service in SERVICES:
        urls = {"RABBITMQ_URL", "MONGODB_URL"}
        assert urls < secret_variables(service)
        assert secret_variables(service) - urls <= given.keys()
    assert all(SECRET in value for name, value in given.items() if name != "SAGA_TOKENS_FILE")


async def test_a_whole_run_writes_no_secret(whole_run: System, users_broker: Broker) -> None:
    system = whole_run
    async with users_broker.connected() as client:
        tap = await tapped(client)
        product = await system.stock(north=100)
        ways = ("sim:approve", "sim:decline", "sim:delay:1", f"tok:{SECRET}-payment-method")
        placed = [await system.place(product, paymentMethod=way) for way in ways for _ in range(MANY)]
        await refused_calls(system, product)
        await users_broker.cut_connections(ORDER, 2)
        publish_badly(users_broker, product)
        await ended_all(system, placed)
        events = await everything(client, tap, len(placed))
    logs = {path.name: path.read_text() for path in sorted(system.stack.logs_dir.glob("*.log"))}
    assert {f"{service}.log" for service in SERVICES} <= logs.keys()
    assert all(order_id in logs["order_service.log"] for order_id in placed)
    shown = {path: await shown_at(system, path) for path in ("/readyz", "/openapi.json", "/metrics")}
    for name, text in {**logs, **shown}.items():
        assert findings(text) == [], name
    # What pays is in the events: the payment service has to know it. Nothing else is.
    assert findings(events.replace(f"tok:{SECRET}-payment-method", "")) == []
    assert len(events) > 100 * len(placed)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    ("away", "said"), [("broker", "broker_unreachable"), ("database", "database_unavailable")]
)
async def test_what_cannot_be_reached_is_named_without_its_password(
    service: str, away: str, said: str, mongodb_url: str, tmp_path: Path
) -> None:
    broker = f"amqp://user:{SECRET}@127.0.0.1:9/"
    database = f"mongodb://user:{SECRET}@127.0.0.1:9/?directConnection=true&serverSelectionTimeoutMS=200"
    log = tmp_path / f"{service}.log"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**secrets(tmp_path / "tokens"), "LOG_LEVEL": "debug"}.items():
            patch.setenv(name, value)
        with run_service(service, broker, mongodb_url if away == "broker" else database, tmp_path) as process:
            await until(lambda: f'"event": "{said}"' in log.read_text(), f"{service} reports it unavailable")
            answer = process.http.get("/readyz")
    assert answer.status_code == 503
    assert away in answer.text
    assert findings(answer.text + log.read_text()) == []


def findings(text: str) -> list[str]:
    """Return the lines that show a secret."""
    return [line[:500] for line in text.splitlines() if SECRET in line or CARD in line or "4111 1111" in line]


async def refused_calls(system: System, product: str) -> None:
    """Call with wrong tokens, card numbers and bodies that are no JSON."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        url = f"{system.at.order}/orders"
        wrong = {"Authorization": f"Bearer {SECRET}-unknown-{uuid4().hex}"}
        assert (await http.post(url, json={}, headers=wrong)).status_code == 401
        known = {"Authorization": f"Bearer {TOKEN}"}
        for field in ("paymentMethod", "userId", "currency", "cardNumber"):
            for card in (CARD, "4111 1111 1111 1111"):
                if (field, card) == ("userId", CARD):
                    continue  # Sixteen digits may be a valid id.
                answer = await http.post(url, json=order(product, 1, {field: card}), headers=known)
                assert answer.status_code == 422, answer.text
                assert findings(answer.text) == []
        broken = f'{{"card": "{CARD}"'.encode()
        answer = await http.post(url, content=broken, headers=known | {"content-type": "application/json"})
        assert answer.status_code == 422
        assert findings(answer.text) == []


def publish_badly(broker: Broker, product: str) -> None:
    """Publish what becomes a dead letter, with card numbers and secrets in every place of the body."""
    good = {"type": "InventoryReservationRequested", "orderId": "o-1", **order(product, 1, {})}
    bodies = [
        *(json.dumps({**good, name: CARD[:4] + " " + CARD[4:8]}) for name in ("type", "userId", "currency")),
        *(json.dumps({**good, "paymentMethod": value}) for value in (CARD, f"{SECRET} with a blank")),
        json.dumps({**good, "totalAmount": CARD + SECRET}),
        f'{{"card": "{CARD}", "{SECRET}"',
    ]
    for body in bodies:
        broker.publish_manually("order.events", "InventoryReservationRequested", body)


async def tapped(client: Client) -> str:
    """Listen to everything that services publish; return the name of the queue."""
    queue = await client.channel.declare_queue("tap-for-secrets", durable=True)
    for service in SERVICES:
        await queue.bind(exchange_of(service), "#")
    return str(queue.name)


async def everything(client: Client, tap: str, orders: int) -> str:
    """Return all that services have published, once every order has come to its end, a line a message."""
    queue = await client.channel.get_queue(tap, ensure=False)
    lines: list[str] = []
    ends = 0

    async def ended() -> bool:
        nonlocal ends
        while message := await queue.get(no_ack=True, fail=False):
            ends += message.routing_key.startswith(("OrderCreated", "OrderFailed"))
            if message.app_id:
                lines.append(f"{message.info()} {message.headers} {message.body.decode()}")
        return ends >= orders

    await until(ended, f"{orders} orders have come to their ends", limit=60)
    return "\n".join(lines)


async def shown_at(system: System, path: str) -> str:
    """Return what all services show at a path."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        bases = (system.at.order, system.at.inventory, system.at.payment)
        headers = {"Authorization": f"Bearer {TOKEN}"} if path == "/metrics" else {}
        return "".join([(await http.get(base + path, headers=headers)).text for base in bases])
