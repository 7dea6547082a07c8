"""The command line: what it accepts, what it says, and its exit codes."""

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

import httpx
import pytest
import typer
from typer.testing import CliRunner

from cli import demo, main, nudge, order, payments, publish, seed, stock
from cli.demo_report import Report
from cli.demo_summary import where_to_look
from events.catalogue import Event
from events.codec import from_json
from operations import endpoints
from operations.client import Json, Services
from operations.endpoints import Endpoints
from operations.errors import CommandFailed
from operations.event_tap import Recorder, Seen
from operations.timeline import Step, detail, lines, timeline
from verification.audit.judge import Report as Audit
from verification.invariants.rules import Finding
from verification.scenarios.books import Books, Level, money_problems, stock_problems
from verification.scenarios.burst import LoadTest
from verification.scenarios.stories import (
    CONFIRMED,
    ONE_OF_MANY,
    STORIES,
    DemoRun,
    Outcome,
    differences,
    stock_for,
)

NOBODY = "http://127.0.0.1:1"
START = datetime(2026, 1, 1, tzinfo=UTC)
COMMANDS = [
    [],
    ["up"],
    ["demo"],
    ["audit"],
    ["chaos"],
    ["publish"],
    ["seed"],
    ["flow"],
    ["search"],
    ["nudge"],
    ["database"],
    ["database", "users"],
    ["broker"],
    ["broker", "definitions"],
    ["order"],
    ["order", "place"],
    ["order", "show"],
    ["order", "cancel"],
    ["order", "watch"],
    ["stock"],
    ["stock", "show"],
    ["stock", "set"],
    ["stock", "export"],
    ["stock", "import"],
    ["payments"],
    ["payments", "show"],
    ["payments", "refund"],
    ["dead-letters"],
    ["dead-letters", "list"],
    ["dead-letters", "show"],
    ["dead-letters", "replay"],
    ["dead-letters", "drop"],
]
ORDER: Json = {
    "orderId": "o-1",
    "correlationId": "o-1",
    "status": "confirmed",
    "reason": None,
    "awaiting": [],
    "userId": "u-1",
    "items": [{"productId": "tea", "quantity": 2, "warehouseId": None}],
    "totalAmount": "25.00",
    "currency": "USD",
    "paymentId": "p-1",
    "createdAt": "2026-01-01T00:00:00.000Z",
}
REQUEST: Json = {
    "orderId": "o-1",
    "userId": "u-1",
    "items": [{"productId": "tea", "quantity": 2}],
    "totalAmount": "25.00",
}

Answer = Callable[[httpx.Request], httpx.Response]
runner = CliRunner()


@pytest.fixture(autouse=True)
def _no_stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let no test find a stack that happens to run."""
    for name in endpoints.VARIABLES.values():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("SAGA_TOKEN", raising=False)
    monkeypatch.setenv("SAGA_STATE", str(tmp_path))


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], None]:
    """Give the commands services that answer as told."""

    def install(handler: Answer) -> None:
        fake = partial(Services, transport=httpx.MockTransport(handler))
        for module in (nudge, order, payments, publish, seed, stock):
            monkeypatch.setattr(module, "Services", fake)

    return install


def event(kind: str, number: int, cause: int | None = None, milliseconds: int = 0, **fields: object) -> Event:
    """Return event `number` of order o-1."""
    return from_json(
        {
            "type": kind,
            "eventId": f"e-{number}",
            "correlationId": "o-1",
            "causationId": None if cause is None else f"e-{cause}",
            "occurredAt": START + timedelta(milliseconds=milliseconds),
            "orderId": "o-1",
            **fields,
        }
    )


def seen(*events: Event) -> list[Seen]:
    return [Seen(one, START) for one in events]


def requested(number: int = 1, milliseconds: int = 0) -> Event:
    return event("InventoryReservationRequested", number, None, milliseconds, **{**REQUEST})


def one_line(text: str) -> str:
    """Return the only line of a text, and fail if there are more."""
    assert len(text.splitlines()) == 1, text
    return text


class TestHelp:
    @pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
    def test_every_command_explains_itself(self, command: list[str]) -> None:
        result = runner.invoke(main.app, [*command, "--help"])
        assert result.exit_code == 0
        assert result.output.startswith("Usage:")

    @pytest.mark.parametrize(
        "command",
        [
            "demo",
            "publish",
            "order place",
            "order watch",
            "stock set",
            "seed",
            "nudge",
            "payments show",
            "payments refund",
            "dead-letters replay",
        ],
    )
    def test_examples_are_given(self, command: str) -> None:
        result = runner.invoke(main.app, [*command.split(), "--help"])
        assert f"saga {command}" in result.output

    def test_an_unknown_command_is_a_usage_error(self) -> None:
        assert runner.invoke(main.app, ["ordr"]).exit_code == 2


class TestOrderOptions:
    @pytest.mark.parametrize(
        ("text", "item"),
        [
            ("tea:2", {"productId": "tea", "quantity": 2}),
            ("tea:2@berlin", {"productId": "tea", "quantity": 2, "warehouseId": "berlin"}),
        ],
    )
    def test_items_are_read(self, text: str, item: Json) -> None:
        assert order.parse_item(text) == item

    @pytest.mark.parametrize(
        "text", ["tea", "tea:", ":2", "tea:two", "tea:-1", "tea:1.5", "tea:2@", "tea:²", ""]
    )
    def test_other_items_are_refused(self, text: str) -> None:
        with pytest.raises(typer.BadParameter, match="SKU:QTY"):
            order.parse_item(text)

    @pytest.mark.parametrize("text", ["52.5", "52.5;13.4", "a,b", "1,2,3"])
    def test_other_places_are_refused(self, text: str) -> None:
        with pytest.raises(typer.BadParameter, match="LAT,LON"):
            order.parse_location(text)

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            (["--item", "tea", "--total", "5"], "--item"),
            (["--item", "tea:0", "--total", "5"], "items.0.quantity"),
            (["--item", "a/b:1", "--total", "5"], "items.0.productId"),
            (["--item", "tea:1", "--total", "free"], "totalAmount"),
            (["--item", "tea:1", "--total", "0"], "totalAmount"),
            (["--item", "tea:1", "--total", "5", "--currency", "euro"], "currency"),
            (["--item", "tea:1", "--total", "5", "--near", "here"], "--near"),
            (["--item", "tea:1", "--total", "5", "--near", "91,0"], "userLocation.latitude"),
            (["--item", "tea:1", "--total", "5", "--expires-in", "0"], "expiresIn"),
            (["--item", "tea:1", "--total", "5", "--expires-in", "soon"], "--expires-in"),
            (["--item", "tea:1", "--total", "5", "--user", "me@home"], "userId"),
            (["--item", "tea:1", "--total", "5", "--payment-method", "my card"], "paymentMethod"),
            (["--total", "5"], "--item"),
            (["--item", "tea:1"], "--total"),
        ],
    )
    def test_a_wrong_option_is_named(self, options: list[str], named: str) -> None:
        result = runner.invoke(main.app, ["order", "place", *options])
        assert result.exit_code == 2
        assert named in result.stderr


class TestOrderCommands:
    def test_place_sends_what_was_asked_for(self, answer: Callable[[Answer], None]) -> None:
        requests: list[httpx.Request] = []

        def accept(request: httpx.Request) -> httpx.Response:
            requests.append(request)
            return httpx.Response(202, json={**ORDER, "status": "pending"})

        answer(accept)
        options = (
            "--item tea:2@berlin --total 25.00 --user u-1 --near -33.9,151.2 --idempotency-key k-1 --json"
        )
        result = runner.invoke(main.app, ["order", "place", *options.split()])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["status"] == "pending"
        assert requests[0].headers["Idempotency-Key"] == "k-1"
        assert json.loads(requests[0].content) == {
            "userId": "u-1",
            "items": [{"productId": "tea", "quantity": 2, "warehouseId": "berlin"}],
            "totalAmount": "25.00",
            "userLocation": {"latitude": -33.9, "longitude": 151.2},
        }

    def test_place_can_wait_for_the_end(self, answer: Callable[[Answer], None]) -> None:
        def serve(request: httpx.Request) -> httpx.Response:
            return httpx.Response(
                200, json={**ORDER, "status": "confirmed" if request.url.params else "pending"}
            )

        answer(serve)
        result = runner.invoke(
            main.app, ["order", "place", "--item", "tea:2", "--total", "25", "--wait", "5"]
        )
        assert result.exit_code == 0
        assert re.search(r"^status: +confirmed$", result.stdout, re.MULTILINE)

    def test_an_order_that_does_not_end_in_time_is_exit_code_1(
        self, answer: Callable[[Answer], None]
    ) -> None:
        stuck = {**ORDER, "status": "reserved", "awaiting": ["PaymentCompleted"]}
        answer(lambda _: httpx.Response(200, json=stuck))
        result = runner.invoke(main.app, ["order", "show", "o-1", "--wait", "0.2"])
        assert result.exit_code == 1
        assert "o-1 is still reserved after 0.2 s and awaits PaymentCompleted" in one_line(result.stderr)

    def test_show_prints_what_is_known(self, answer: Callable[[Answer], None]) -> None:
        answer(lambda _: httpx.Response(200, json=ORDER))
        result = runner.invoke(main.app, ["order", "show", "o-1"])
        assert result.exit_code == 0
        assert "2 x tea" in result.stdout
        assert "25.00 USD" in result.stdout
        assert "reason" not in result.stdout

    def test_a_nudge_names_what_was_asked_again(self, answer: Callable[[Answer], None]) -> None:
        asked = [{"orderId": "o-1", "type": "PaymentRequested"}]
        paths: list[str] = []

        def serve(request: httpx.Request) -> httpx.Response:
            paths.append(request.url.path)
            return httpx.Response(202, json={"published": asked})

        answer(serve)
        everybody = runner.invoke(main.app, ["nudge", "--json"])
        assert json.loads(everybody.stdout) == asked
        two = runner.invoke(main.app, ["nudge", "o-1", "o-2"])
        assert two.stdout.splitlines() == ["o-1  PaymentRequested"] * 2
        assert "2 requests of 1 orders" in two.stderr
        assert paths == ["/nudge", "/orders/o-1/nudge", "/orders/o-2/nudge"]

    def test_the_token_of_the_environment_is_sent(
        self, answer: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent: list[str | None] = []

        def serve(request: httpx.Request) -> httpx.Response:
            sent.append(request.headers.get("authorization"))
            return httpx.Response(200, json=ORDER)

        answer(serve)
        runner.invoke(main.app, ["order", "show", "o-1"])
        monkeypatch.setenv("SAGA_TOKEN", "a-token\n")
        runner.invoke(main.app, ["order", "show", "o-1"])
        assert sent == [None, "Bearer a-token"]

    @pytest.mark.parametrize("token", ["two words", "one\ntwo", "schlüssel"])
    def test_a_token_that_is_none_is_named_and_not_shown(
        self, token: str, answer: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer(lambda _: httpx.Response(200, json=ORDER))
        monkeypatch.setenv("SAGA_TOKEN", token)
        result = runner.invoke(main.app, ["order", "show", "o-1"])
        assert result.exit_code == 1
        told = one_line(result.stderr)
        assert "SAGA_TOKEN is no token" in told
        assert token.split()[0] not in told

    def test_placing_waits_as_long_as_it_is_told(self, answer: Callable[[Answer], None]) -> None:
        slow_down = httpx.Response(
            429, json={"title": "Too Many Requests", "status": 429}, headers={"Retry-After": "0"}
        )
        answers = iter([slow_down, slow_down, httpx.Response(202, json={**ORDER, "status": "pending"})])
        answer(lambda _: next(answers))
        result = runner.invoke(main.app, ["order", "place", "--item", "tea:1", "--total", "1", "--json"])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["status"] == "pending"

    def test_a_refusal_is_told_in_one_line(self, answer: Callable[[Answer], None]) -> None:
        problem = {"title": "Conflict", "status": 409, "detail": "order o-1 is paid"}
        answer(lambda _: httpx.Response(409, json=problem))
        result = runner.invoke(main.app, ["order", "cancel", "o-1"])
        assert result.exit_code == 1
        assert one_line(result.stderr) == "saga: Conflict: order o-1 is paid\n"

    def test_a_refused_field_is_named(self, answer: Callable[[Answer], None]) -> None:
        errors = [{"field": "available", "message": "must be less"}]
        answer(
            lambda _: httpx.Response(422, json={"title": "Unprocessable", "status": 422, "errors": errors})
        )
        result = runner.invoke(main.app, ["stock", "set", "berlin", "tea", "5"])
        assert result.exit_code == 1
        assert "available: must be less" in one_line(result.stderr)

    def test_a_stranger_is_not_taken_for_a_service(self, answer: Callable[[Answer], None]) -> None:
        answer(lambda _: httpx.Response(200, text="<html>"))
        result = runner.invoke(main.app, ["order", "show", "o-1"])
        assert result.exit_code == 1
        assert "is it one of the services?" in one_line(result.stderr)

    @pytest.mark.parametrize("command", [["order", "show", "o-1"], ["stock", "show"], ["seed"]])
    def test_without_a_stack_the_next_step_is_told(
        self, command: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("ORDER_URL", "INVENTORY_URL"):
            monkeypatch.setenv(name, NOBODY)
        result = runner.invoke(main.app, command)
        assert result.exit_code == 1
        assert "saga up" in one_line(result.stderr)

    async def test_waiting_outlasts_an_order_nobody_knows_yet(self) -> None:
        answers = iter([httpx.Response(404, json={"title": "Not Found"}), httpx.Response(200, json=ORDER)])
        transport = httpx.MockTransport(lambda _: next(answers))
        async with Services(endpoints.DEFAULTS, transport) as services:
            assert await services.ended("o-1", within=5) == ORDER

    async def test_waiting_says_that_nobody_knows_the_order(self) -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(404, json={"title": "Not Found"}))
        async with Services(endpoints.DEFAULTS, transport) as services:
            with pytest.raises(CommandFailed, match="o-1 is unknown"):
                await services.ended("o-1", within=0.1)

    async def test_readiness_says_who_is_not_ready_and_why(self) -> None:
        waiting = {"status": "not ready", "problems": ["broker: waiting for payment.events"]}
        transport = httpx.MockTransport(lambda _: httpx.Response(503, json=waiting))
        async with Services(endpoints.DEFAULTS, transport) as services:
            with pytest.raises(CommandFailed, match=r":8001 answered 503 .*waiting for payment\.events"):
                await services.ready(within=0.1)


PAYMENT: Json = {
    "paymentId": "o-1",
    "status": "charging",
    "amount": "25.00",
    "currency": "USD",
    "userId": "u-1",
    "reason": None,
    "pending": "pr-1",
    "actions": [{"kind": "redirect", "name": "web_url", "value": "https://pay.example/1"}],
    "refundAttempt": 0,
}


class TestPayments:
    def test_show_tells_what_the_customer_has_to_do(self, answer: Callable[[Answer], None]) -> None:
        answer(lambda request: httpx.Response(200, json=PAYMENT))
        result = runner.invoke(main.app, ["payments", "show", "o-1"])
        assert result.exit_code == 0
        assert "status:    charging" in result.stdout
        assert "to do:     redirect web_url: https://pay.example/1" in result.stdout
        as_json = runner.invoke(main.app, ["payments", "show", "o-1", "--json"])
        assert json.loads(as_json.stdout) == PAYMENT

    @pytest.mark.parametrize(
        ("states", "code", "told"),
        [
            (["refunded"], 0, ""),
            (["refundFailed"], 1, "refuses the refund: balance too low"),
            (["refunding"] * 99, 1, "saga payments show o-1"),
            (["refunding", "refunding", "refunded"], 0, ""),
        ],
        ids=["settled", "refused", "not decided in time", "decided in time"],
    )
    def test_refund_succeeds_only_when_the_customer_has_the_money(
        self, states: list[str], code: int, told: str, answer: Callable[[Answer], None]
    ) -> None:
        asked, left = list[str](), iter(states)

        def services(request: httpx.Request) -> httpx.Response:
            asked.append(f"{request.method} {request.url.path}")
            status = next(left)
            return httpx.Response(202, json={**PAYMENT, "status": status, "reason": "balance too low"})

        answer(services)
        result = runner.invoke(main.app, ["payments", "refund", "o-1", "--wait", "1", "--json"])
        assert result.exit_code == code
        assert json.loads(result.stdout)["status"] == states[len(asked) - 1]
        assert told in result.stderr
        assert asked[0] == "POST /payments/o-1/refund"
        assert set(asked[1:]) <= {"GET /payments/o-1"}

    def test_what_may_not_be_refunded_is_told_in_one_line(self, answer: Callable[[Answer], None]) -> None:
        problem = {"title": "Conflict", "status": 409, "detail": "the payment belongs to a saga"}
        answer(lambda request: httpx.Response(409, json=problem))
        result = runner.invoke(main.app, ["payments", "refund", "o-1"])
        assert result.exit_code == 1
        assert one_line(result.stderr) == "saga: Conflict: the payment belongs to a saga\n"


class TestPublish:
    @pytest.mark.parametrize(
        ("kind", "fields", "named"),
        [
            ("InventoryReserved", {}, "userId"),
            ("OrderPlaced", REQUEST, "'OrderPlaced' is no event"),
            ("InventoryReservationRequested", {**REQUEST, "totalAmount": "-1"}, "totalAmount"),
            ("InventoryReservationRequested", {**REQUEST, "totlAmount": "1"}, "totlAmount"),
            ("InventoryReservationRequested", {**REQUEST, "items": []}, "items"),
            ("InventoryReservationRequested", {**REQUEST, "orderId": "a.b"}, "orderId"),
            ("InventoryReservationRequested", {**REQUEST, "type": "OrderCreated"}, "type"),
            ("InventoryReservationRequested", [], "JSON object"),
        ],
    )
    def test_a_wrong_event_is_refused_and_the_field_named(
        self, kind: str, fields: object, named: str
    ) -> None:
        for options, stdin in ((["--data", json.dumps(fields)], None), ([], json.dumps(fields))):
            result = runner.invoke(main.app, ["publish", kind, *options], input=stdin)
            assert result.exit_code == 2
            assert named in result.stderr

    def test_text_that_is_no_json_is_refused(self) -> None:
        result = runner.invoke(main.app, ["publish", "OrderFailed", "--data", "{"])
        assert result.exit_code == 2
        assert "not JSON" in result.stderr

    def test_the_type_is_filled_in(self) -> None:
        read = publish.read_event("InventoryReservationRequested", json.dumps(REQUEST))
        assert read == from_json({**REQUEST, "type": "InventoryReservationRequested"})

    def test_an_absent_broker_is_told_without_the_password(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RABBITMQ_URL", "amqp://saga:secret@127.0.0.1:1/")
        result = runner.invoke(
            main.app, ["publish", "InventoryReservationRequested", "--data", json.dumps(REQUEST)]
        )
        assert result.exit_code == 1
        assert "saga up" in one_line(result.stderr)
        assert "secret" not in result.stderr


class TestEndpoints:
    RUNNING = Endpoints(
        order="http://127.0.0.1:9001",
        inventory="http://127.0.0.1:9002",
        payment="http://127.0.0.1:9003",
        rabbitmq="amqp://guest:guest@127.0.0.1:9672/",
        management="http://127.0.0.1:9673",
        mongodb="mongodb://127.0.0.1:9017/",
    )

    def test_the_defaults_come_last(self) -> None:
        assert endpoints.find({}) == endpoints.DEFAULTS

    def test_a_running_stack_comes_before_the_defaults(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[Path] = []

        def running(state: Path) -> Endpoints:
            asked.append(state)
            return self.RUNNING

        monkeypatch.setattr(endpoints, "running_endpoints", running)
        assert endpoints.find({"SAGA_STATE": "/elsewhere"}) == self.RUNNING
        assert endpoints.find({}) == self.RUNNING
        assert asked == [Path("/elsewhere"), Path(".saga")]

    def test_the_environment_comes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(endpoints, "running_endpoints", lambda _: self.RUNNING)
        found = endpoints.find({"ORDER_URL": "http://order:8001/", "RABBITMQ_URL": "amqp://u:p@broker:5672/"})
        assert found == replace(
            self.RUNNING,
            order="http://order:8001",
            rabbitmq="amqp://u:p@broker:5672/",
            management="http://broker:15672",
        )

    def test_an_empty_variable_says_nothing(self) -> None:
        assert endpoints.find({"ORDER_URL": ""}) == endpoints.DEFAULTS
        assert not endpoints.named_by_environment({"ORDER_URL": ""})

    @pytest.mark.parametrize(
        ("url", "login"),
        [
            ("amqp://a:b%2Fc@h:5672/", ("a", "b/c", "/")),
            ("amqp://h", ("guest", "guest", "/")),
            ("amqp://a:b@h/%2Fshop", ("a", "b", "/shop")),
        ],
    )
    def test_the_login_is_read_from_the_url(self, url: str, login: tuple[str, str, str]) -> None:
        found = endpoints.broker_login(url)
        assert (found.user, found.password, found.vhost) == login


class TestTimeline:
    def test_steps_follow_time(self) -> None:
        released = event("InventoryReleased", 3, 2, 40)
        failed = event("OrderFailed", 4, 3, 55, reason="declined", status="failed")
        steps = timeline(seen(failed, released, requested()))
        assert [(step.event.type, step.milliseconds) for step in steps] == [
            ("InventoryReservationRequested", 0),
            ("InventoryReleased", 40),
            ("OrderFailed", 55),
        ]

    def test_causes_decide_when_times_tie_or_clocks_differ(self) -> None:
        first = requested(1, milliseconds=10)
        second = event("InventoryReleaseRequested", 2, 1, 4, reason="late")
        third = event("InventoryReleased", 3, 2, 10)
        steps = timeline(seen(third, second, first))
        assert [step.event.event_id for step in steps] == ["e-1", "e-2", "e-3"]
        assert [step.milliseconds for step in steps] == [0, 0, 0]

    def test_a_repeated_event_is_shown_once(self) -> None:
        assert len(timeline(seen(requested(), requested()))) == 1

    def test_causes_in_a_circle_end(self) -> None:
        one, two = event("InventoryReleased", 1, 2), event("InventoryReleased", 2, 1)
        assert len(timeline(seen(one, two))) == 2

    def test_nothing_seen_is_no_timeline(self) -> None:
        assert timeline([]) == []

    def test_times_can_count_from_elsewhere(self) -> None:
        steps = timeline(seen(event("InventoryReleased", 1, None, 30)), START - timedelta(milliseconds=12))
        assert steps[0].milliseconds == 42

    def test_a_line_tells_when_who_what_and_what_of(self) -> None:
        held = [{"reservationId": "o-1", "productId": "tea", "warehouseId": "berlin", "quantity": 2}]
        steps = timeline(seen(requested(), event("InventoryConfirmed", 2, 1, 17, reservations=held)))
        assert [line.split() for line in lines(steps)] == [
            ["0", "ms", "order_service", "InventoryReservationRequested", "2", "x", "tea;", "25.00", "USD"],
            ["17", "ms", "inventory_service", "InventoryConfirmed", "2", "x", "tea", "at", "berlin"],
        ]

    def test_details_tell_reason_amount_and_shortage(self) -> None:
        short = {"productId": "tea", "requested": 2, "available": 1}
        fields = {**REQUEST, "currency": "USD", "reason": "insufficient_stock", "shortages": [short]}
        text = detail(event("InventoryReservationFailed", 2, 1, **fields))
        assert text == "2 x tea; 25.00 USD; insufficient_stock; 1 of 2 tea available"
        refunded = event("PaymentRefunded", 3, 1, amount="0", currency="USD")
        assert detail(refunded) == "0.00 USD"


class TestRecorder:
    async def test_it_waits_for_the_last_event(self) -> None:
        recorder = Recorder()
        assert await recorder.whole("o-1", within=0.01) == []

        async def arrive() -> AsyncIterator[Seen]:
            for one in seen(requested(), event("OrderFailed", 2, 1, reason="x", status="failed")):
                yield one

        await recorder.record(arrive())
        assert len(await recorder.whole("o-1", within=5)) == 2


class TestSeed:
    def test_what_is_there_stays_unless_restocked(self, answer: Callable[[Answer], None]) -> None:
        there = {"warehouseId": "berlin", "productId": "tea", "available": 1, "reserved": 0, "allocated": 9}
        put: list[str] = []

        def serve(request: httpx.Request) -> httpx.Response:
            if request.method == "PUT":
                put.append(request.url.path)
            return httpx.Response(200, json={"stock": [there]})

        answer(serve)
        assert runner.invoke(main.app, ["seed"]).exit_code == 0
        assert "/warehouses" in put
        assert "/stock/madrid/tea" in put
        assert "/stock/berlin/tea" not in put
        assert runner.invoke(main.app, ["seed", "--restock"]).exit_code == 0
        assert "/stock/berlin/tea" in put


class TestStock:
    LEVEL: Json = {  # noqa: RUF012
        "warehouseId": "berlin",
        "productId": "tea",
        "available": 8,
        "reserved": 1,
        "allocated": 2,
        "version": 3,
    }

    def test_levels_are_shown(self, answer: Callable[[Answer], None]) -> None:
        answer(lambda _: httpx.Response(200, json={"stock": [self.LEVEL]}))
        shown = runner.invoke(main.app, ["stock", "show", "--product", "tea"])
        assert shown.stdout.splitlines()[-1].split() == ["berlin", "tea", "8", "1", "2"]
        printed = runner.invoke(main.app, ["stock", "show", "--json"])
        assert json.loads(printed.stdout) == {"stock": [self.LEVEL]}

    def test_an_export_is_an_import(self, answer: Callable[[Answer], None], tmp_path: Path) -> None:
        puts: list[tuple[str, str | None, object]] = []

        def serve(request: httpx.Request) -> httpx.Response:
            if request.method == "PUT":
                body = json.loads(request.content)
                puts.append((request.url.path, request.headers.get("If-Match"), body))
            return httpx.Response(200, json={"stock": [self.LEVEL]})

        answer(serve)
        file = str(tmp_path / "stock.csv")
        assert runner.invoke(main.app, ["stock", "export", file]).exit_code == 0
        printed = runner.invoke(main.app, ["stock", "export"])
        assert printed.stdout == Path(file).read_text()
        assert printed.stdout.splitlines()[1] == "berlin,tea,8,1,2,3"
        assert runner.invoke(main.app, ["stock", "import", file]).exit_code == 0
        assert runner.invoke(main.app, ["stock", "import", file, "--force"]).exit_code == 0
        path, body = "/stock/berlin/tea", {"available": 8}
        assert puts == [(path, '"3"', body), (path, None, body)]

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("warehouseId,productId\n", "missing: available"),
            ("", "missing: warehouseId, productId, available"),
            ("warehouseId,productId,available\nberlin,tea,many\n", "line 2: available: 'many' is no number"),
            ("warehouseId,productId,available\nberlin,tea,-1\n", "line 2: available: '-1' is no number"),
            ("warehouseId,productId,available\nber lin,tea,1\n", "line 2: warehouseId: "),
            ("warehouseId,productId,available\nberlin,tea\n", "line 2: available: Field required"),
            ("warehouseId,productId,available\nberlin,tea,1,2\n", "line 2: has more fields"),
            ("warehouseId,productId,available\nberlin,tea,1\nberlin,tea,2\n", "line 3: tea at berlin comes"),
        ],
    )
    def test_a_file_with_a_mistake_imports_nothing(
        self, answer: Callable[[Answer], None], tmp_path: Path, text: str, told: str
    ) -> None:
        answer(lambda request: pytest.fail(f"sent {request}"))
        file = tmp_path / "stock.csv"
        file.write_text(text)
        result = runner.invoke(main.app, ["stock", "import", str(file)])
        assert result.exit_code == 1
        assert told in one_line(result.stderr)

    def test_a_level_that_has_changed_is_told_and_the_others_are_set(
        self, answer: Callable[[Answer], None], tmp_path: Path
    ) -> None:
        def serve(request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/tea"):
                return httpx.Response(412, json={"title": "Precondition Failed", "detail": "another version"})
            return httpx.Response(200, json=self.LEVEL)

        answer(serve)
        file = tmp_path / "stock.csv"
        file.write_text("warehouseId,productId,available,version\nberlin,tea,1,1\nberlin,mug,1,1\n")
        result = runner.invoke(main.app, ["stock", "import", str(file)])
        assert result.exit_code == 1
        assert "tea at berlin: Precondition Failed: another version" in result.stderr
        assert "mug at" not in result.stderr

    def test_empty_stock_says_what_to_do(self, answer: Callable[[Answer], None]) -> None:
        answer(lambda _: httpx.Response(200, json={"stock": []}))
        assert "saga seed" in runner.invoke(main.app, ["stock", "show"]).stdout

    def test_less_than_nothing_is_refused(self) -> None:
        result = runner.invoke(main.app, ["stock", "set", "berlin", "tea", "--", "-1"])
        assert result.exit_code == 2


class TestStories:
    CONFIRMED_STORY = STORIES[0]

    def steps(self, *kinds: str) -> list[Step]:
        held = {"reservationId": "o-1", "productId": "tea", "warehouseId": "berlin", "quantity": 2}
        fields = {
            **REQUEST,
            "amount": "25.00",
            "currency": "USD",
            "paymentId": "p-1",
            "idempotencyKey": "order-o-1",
            "reservations": [held],
            "expiresAt": START,
        }
        return [Step(event(kind, number, **fields), 0) for number, kind in enumerate(kinds)]

    def test_a_story_that_went_well(self) -> None:
        assert differences(self.CONFIRMED_STORY, "confirmed", "", self.steps(*CONFIRMED)) == []

    def test_what_differs_is_told(self) -> None:
        told = "; ".join(differences(self.CONFIRMED_STORY, "failed", "declined", self.steps(CONFIRMED[0])))
        assert "ended failed (declined) instead of confirmed" in told
        assert "never seen: InventoryReserved" in told
        assert "0 warehouses" in told

    def test_the_reason_counts(self) -> None:
        story = next(story for story in STORIES if story.name == "out of stock")
        steps = self.steps(CONFIRMED[0])
        assert "instead of failed (insufficient_stock)" in differences(story, "failed", "declined", steps)[0]

    def test_every_story_has_stock_set_for_its_products(self) -> None:
        stage = DemoRun(Services(endpoints.DEFAULTS), endpoints.DEFAULTS, "demo-1", 1)
        stocked = {product for _, product, _ in stock_for(stage, 10)}
        ordered = {stage.product(name) for story in (*STORIES, ONE_OF_MANY) for name in story.takes}
        assert stocked == ordered

    def test_every_order_is_valid(self) -> None:
        stage = DemoRun(Services(endpoints.DEFAULTS), endpoints.DEFAULTS, "demo-1", 1)
        for story in (*STORIES, ONE_OF_MANY):
            body = json.loads(json.dumps(stage.body(story)))
            from_json({"type": CONFIRMED[0], "orderId": "o-1", **body}, forbid_unknown=True)


class TestBooks:
    TEA = ("berlin", "tea")

    def books(self, level: Level, kept: str = "0", confirmed: str = "0") -> Books:
        return Books({self.TEA: level}, Decimal(kept) + 5, Decimal(5), Decimal(confirmed))

    def test_balanced_stock_is_no_problem(self) -> None:
        before, after = self.books(Level(10, 0, 5)), self.books(Level(8, 0, 7))
        assert stock_problems(before, after, {"tea": 2}) == []

    @pytest.mark.parametrize(
        ("level", "told"),
        [
            (Level(8, 0, 6), "was 15 units, is 14"),
            (Level(7, 1, 7), "1 x tea at berlin are still reserved"),
            (Level(7, 0, 8), "3 x tea were allocated, 2 were sold"),
        ],
    )
    def test_unbalanced_stock_is_told(self, level: Level, told: str) -> None:
        problems = stock_problems(self.books(Level(10, 0, 5)), self.books(level), {"tea": 2})
        assert told in "; ".join(problems)

    def test_money_must_agree_three_times(self) -> None:
        level = Level(0, 0, 0)
        before = self.books(level)
        assert money_problems(before, self.books(level, "25", "25.00"), Decimal("25.0")) == []
        for kept, confirmed, sold in (("24", "25", "25"), ("25", "24", "25"), ("25", "25", "24")):
            assert money_problems(before, self.books(level, kept, confirmed), Decimal(sold))


class TestDemo:
    def report(self, problems: list[str], audit: Audit | None = None) -> Report:
        stage = DemoRun(Services(endpoints.DEFAULTS), endpoints.DEFAULTS, "demo-1", 1)
        steps = timeline(seen(requested()))
        outcome = Outcome(STORIES[0], "o-1", "confirmed", "", steps, problems)
        key = ("berlin", "demo-1-tea")
        before = Books({key: Level(10, 0, 0)}, Decimal(0), Decimal(0), Decimal(0))
        after = Books({key: Level(8, 0, 2)}, Decimal(25), Decimal(0), Decimal(25))
        return Report(stage, [outcome], LoadTest(0, Counter(), 0.5, [], []), before, after, audit)

    @pytest.mark.parametrize(("problems", "exit_code"), [([], 0), (["never seen: OrderCreated"], 1)])
    def test_the_exit_code_tells_whether_all_was_as_expected(
        self, problems: list[str], exit_code: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def play(*_: object) -> Report:
            return self.report(problems)

        monkeypatch.setattr(demo, "_demo", play)
        monkeypatch.setenv("ORDER_URL", NOBODY)  # otherwise a stack would be started
        told = runner.invoke(main.app, ["demo"])
        assert told.exit_code == exit_code, told.output
        assert ("the books balance" in told.stdout) == (exit_code == 0)
        assert all(problem in told.stdout for problem in problems)
        printed = runner.invoke(main.app, ["demo", "--json"])
        assert printed.exit_code == exit_code
        assert json.loads(printed.stdout)["ok"] == (exit_code == 0)

    def test_what_the_audit_finds_is_a_problem(self) -> None:
        audit = Audit()
        assert self.report([], audit).problems == []
        audit.accuse("o-1", [Finding("order ends", "o-1", "is still paid")], [])
        assert self.report([], audit).problems == ["audit: o-1 is still paid"]

    def test_only_the_well_known_password_is_printed(self) -> None:
        known = "\n".join(where_to_look(endpoints.DEFAULTS))
        assert "password guest" in known
        secret = replace(endpoints.DEFAULTS, rabbitmq="amqp://saga:hush@broker:5672/")
        assert "hush" not in "\n".join(where_to_look(secret))


class TestMain:
    def test_what_nobody_foresaw_is_one_line(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def break_down(**_: object) -> None:
            raise ZeroDivisionError("by zero")

        monkeypatch.setattr(main, "app", break_down)
        with pytest.raises(SystemExit) as ending:
            main.main()
        assert ending.value.code == 1
        assert one_line(capsys.readouterr().err) == "saga: ZeroDivisionError: by zero\n"
