"""Dead letters: what is read from one, which are meant, how they are printed, what a replay would do."""

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import fields as dataclass_fields
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import main
from events.catalogue import (
    INVENTORY,
    Event,
    PaymentCompleted,
    PaymentFailed,
    PaymentRefunded,
)
from events.codec import MAX_BYTES, encode
from operations.dead_letters.dead_letter import (
    DeadLetter,
    DeadLetterFilter,
    body,
    cause,
    described,
    headline,
    publishable,
    summary,
    whole,
)
from operations.dead_letters.dry_run import dry_run
from operations.dead_letters.preview import ReplayPreview, sentence
from saga.errors import OutOfOrder
from saga.messaging.message import (
    ATTEMPTS,
    EVENT_ID,
    FAILED_AT,
    ORIGIN_EXCHANGE,
    ORIGIN_KEY,
    REASON,
    Delivery,
    Message,
    dead_lettered,
    delayed,
    read_event,
    replayed,
)
from saga.messaging.topology import Topology
from saga.reactions.reaction import Reaction, Reactions, on, table
from tests.support.accounts import Account, Context, MemoryStore, account
from tests.support.builders import NOW, event

SERVICE = Topology(INVENTORY, reacts_to=["PaymentFailed"], publishes=[])
FAILED = event(PaymentFailed, "e-1")
DEATH = {
    "reason": "delivery_limit",
    "time": datetime(2026, 3, 1, 12, tzinfo=UTC),
    "exchange": "payment.events",
    "routing-keys": ["PaymentFailed.c-1"],
}


def delivery(content: bytes | None = None, **fields: Any) -> Delivery:
    """Return a message as it comes to the service the first time."""
    body = encode(FAILED) if content is None else content
    return Delivery(
        **{
            "tag": 1,
            "exchange": "payment.events",
            "routing_key": "PaymentFailed.c-1",
            "body": body,
            "message_id": "m-1",
            **fields,
        }
    )


def letter(content: bytes | None = None, reason: str = "not JSON", **fields: Any) -> DeadLetter:
    """Return the letter that a message becomes when the service puts it away."""
    return in_dead_queue(dead_lettered(delivery(content, **fields), SERVICE, reason, NOW))


def in_dead_queue(message: Message) -> DeadLetter:
    return DeadLetter(SERVICE, arrived(message))


def arrived(message: Message) -> Delivery:
    fields = {field.name: getattr(message, field.name) for field in dataclass_fields(message)}
    del fields["mandatory"]
    return Delivery(tag=1, **fields)


def dead_lettered_by_broker(headers: Mapping[str, Any] | None = None, death: object = DEATH) -> DeadLetter:
    return DeadLetter(
        SERVICE, delivery(exchange=SERVICE.dead_letter_queue, headers={**(headers or {}), "x-death": [death]})
    )


class TestWhatALetterIs:
    def test_its_id_is_the_messages_id(self) -> None:
        assert letter().id == "m-1"

    def test_without_one_by_the_event_id_it_was_given(self) -> None:
        assert letter(message_id=None, headers={EVENT_ID: "e-7"}).id == "e-7"

    def test_without_any_by_its_body(self) -> None:
        one, same, another = (letter(text, message_id=None) for text in (b"{", b"{", b"["))
        assert one.id == same.id != another.id
        assert one.id.startswith("body-")

    def test_its_type_is_what_it_came_as(self) -> None:
        assert letter(b"{").type == "PaymentFailed"
        assert letter(b"{", routing_key="").type == ""

    @pytest.mark.parametrize("content", [b"{", b"[]", b'{"orderId":7}', b"\xff", b"[" * 100_000])
    def test_where_the_body_names_no_order_there_is_none(self, content: bytes) -> None:
        assert letter(content).order_id is None

    def test_an_event_that_lacks_something_else_still_has_its_order(self) -> None:
        assert letter(b'{"orderId":"o-7"}').order_id == "o-7"

    def test_reason_time_and_attempts_are_the_services(self) -> None:
        one = letter(reason="out of attempts", headers={ATTEMPTS: 4})
        assert (one.reason, one.dead_lettered_at) == ("out of attempts", "2026-03-01T12:00:00.000Z")
        assert cause(one) == "2026-03-01T12:00:00.000Z, 4 retries: out of attempts"

    def test_a_broker_rejection_has_the_brokers_reason_and_origin(self) -> None:
        one = dead_lettered_by_broker({REASON: "of an earlier failure", ATTEMPTS: 1})
        assert one.reason == "dead-lettered by the broker: delivery_limit"
        assert one.dead_lettered_at == "2026-03-01T12:00:00.000Z"
        assert one.origin == ("payment.events", "PaymentFailed.c-1")

    def test_too_long_dead_letter_says_so(self) -> None:
        headers = {"x-death": [{**DEATH, "reason": "rejected"}]}
        one = DeadLetter(
            SERVICE, delivery(b" " * (MAX_BYTES + 1), exchange=SERVICE.dead_letter_queue, headers=headers)
        )
        assert one.reason == f"dead-lettered by the broker: rejected, longer than {MAX_BYTES} bytes"

    def test_a_copy_has_the_origin_of_the_first_message(self) -> None:
        ours = {ORIGIN_EXCHANGE: "payment.events", ORIGIN_KEY: "PaymentFailed.c-9"}
        one = dead_lettered_by_broker(
            ours, {**DEATH, "exchange": SERVICE.return_exchange, "routing-keys": ["250ms"]}
        )
        assert one.origin == ("payment.events", "PaymentFailed.c-9")

    def test_headers_by_hand_do_not_change_the_way_the_broker_saw(self) -> None:
        one = dead_lettered_by_broker({ORIGIN_EXCHANGE: "order.events", ORIGIN_KEY: "OrderFailed"})
        assert one.origin == ("payment.events", "PaymentFailed.c-1")

    @pytest.mark.parametrize("death", ["?", 7, {}, {"routing-keys": 7, "time": "noon"}])
    def test_an_odd_note_of_a_death_breaks_nothing(self, death: object) -> None:
        one = dead_lettered_by_broker(death=death)
        assert json.dumps([summary(one), whole(one), publishable(one)])
        assert cause(one)

    def test_what_was_put_straight_into_the_queue_has_no_reason(self) -> None:
        one = DeadLetter(SERVICE, delivery(exchange=SERVICE.dead_letter_queue, routing_key="k"))
        assert (one.reason, one.origin) == ("no reason given", (SERVICE.dead_letter_queue, "k"))


class TestWhatAReplayPublishes:
    def test_replay_resets_attempts_and_keeps_origin(self) -> None:
        first = delivery(
            b'{"type":"PaymentFailed","orderId":"o-1","reason":"r"}', headers={"traceparent": "t"}
        )
        asked = read_event(first, SERVICE, NOW)
        late = arrived(delayed(first, SERVICE, asked, "no luck", NOW))
        again = replayed(
            in_dead_queue(dead_lettered(late, SERVICE, "out of attempts", NOW)).delivery, SERVICE
        )
        assert again.exchange == SERVICE.return_exchange
        assert again.message_id == first.message_id
        assert again.headers["traceparent"] == "t"
        delivered = arrived(again)
        assert delivered.attempts == 0
        assert read_event(delivered, SERVICE, NOW) == asked

    def test_the_brokers_notes_stay_behind(self) -> None:
        again = replayed(dead_lettered_by_broker().delivery, SERVICE)
        assert set(again.headers) == {ORIGIN_EXCHANGE, ORIGIN_KEY, ATTEMPTS}

    def test_the_management_api_can_publish_it(self) -> None:
        said = publishable(letter(timestamp=NOW))
        assert (said["exchange"], said["routing_key"]) == (SERVICE.return_exchange, "PaymentFailed.c-1")
        assert said["payload"] == encode(FAILED).decode()
        assert said["properties"]["timestamp"] == 1772366400
        assert said["properties"]["headers"][ORIGIN_EXCHANGE] == "payment.events"

    def test_a_body_that_is_no_text_is_kept_byte_by_byte(self) -> None:
        said = publishable(letter(b"\xff\x00"))
        assert said["payload_encoding"] == "base64"
        assert b64decode(said["payload"]) == b"\xff\x00"


class TestWhichAreMeant:
    def test_without_criteria_all(self) -> None:
        assert DeadLetterFilter().fits(letter())

    @pytest.mark.parametrize(
        ("wanted", "fits"),
        [
            (DeadLetterFilter(type="PaymentFailed"), True),
            (DeadLetterFilter(type="PaymentCompleted"), False),
            (DeadLetterFilter(order="o-1"), True),
            (DeadLetterFilter(order="o-"), False),
            (DeadLetterFilter(reason="OUT of"), True),
            (DeadLetterFilter(reason="not JSON"), False),
            (DeadLetterFilter(id="m-1"), True),
            (DeadLetterFilter(id="m-11"), False),
            (DeadLetterFilter("PaymentFailed", "o-1", "OutOfOrder", "m-1"), True),
            (DeadLetterFilter("PaymentFailed", "o-1", "OutOfOrder", "m-2"), False),
        ],
    )
    def test_every_criterion_has_to_fit(self, wanted: DeadLetterFilter, fits: bool) -> None:
        assert wanted.fits(letter(reason="out of attempts: OutOfOrder: o-1")) is fits

    def test_two_letters_with_one_id_differ_by_time_or_body(self) -> None:
        one = letter()
        assert one.mark == letter().mark
        assert one.mark != letter(b"{").mark
        assert one.mark != in_dead_queue(dead_lettered(delivery(), SERVICE, "r", datetime.now(UTC))).mark


class TestHowTheyArePrinted:
    def test_json_is_laid_out(self) -> None:
        assert body(letter(b'{"a":{"b":"\xc3\xa9"}}')) == '{\n  "a": {\n    "b": "é"\n  }\n}'

    @pytest.mark.parametrize("content", [b'{"totalAmount": 25.10}', b"{", b'{"a": NaN, "b": 1e999}'])
    def test_what_layout_would_change_is_printed_as_it_is(self, content: bytes) -> None:
        assert body(letter(content)) == content.decode()

    def test_what_is_no_text_is_printed_as_bytes(self) -> None:
        assert body(letter(b"\xff")) == r"b'\xff'"

    def test_nothing_in_a_letter_reaches_the_terminal_as_a_command(self) -> None:
        escape = "\x1b[2J"
        one = letter(
            escape.encode(), escape, message_id=escape, routing_key=escape, headers={"x-saga-note": escape}
        )
        for text in (headline(one), cause(one), *described(one, escape)):
            assert "\x1b" not in text

    def test_a_whole_letter_has_everything(self) -> None:
        text = "\n".join(described(letter(headers={ATTEMPTS: 3}), "confirmed"))
        for part in (
            "id:        m-1",
            "reason:    not JSON",
            "retries:   3",
            "since:     2026-03-01T12:00:00.000Z",
            "came by:   payment.events, key PaymentFailed.c-1",
            "order:     o-1: confirmed",
            f"  {FAILED_AT}: 2026-03-01T12:00:00.000Z",
            '  "reason": "declined"',
        ):
            assert part in text

    @pytest.mark.parametrize(
        ("preview", "said"),
        [
            (
                ReplayPreview("runs", None, "void", ["PaymentRefunded"]),
                "would run: unknown -> void, publishes Pay",
            ),
            (
                ReplayPreview("runs", None, "charging", asks_provider=True),
                "-> charging, then asks the provider",
            ),
            (ReplayPreview("repeats", "paid", "paid"), "handled already (paid): publishes again nothing"),
            (
                ReplayPreview("repeats", "charging", "charging", asks_provider=True),
                "then goes on asking the provid",
            ),
            (ReplayPreview("ignored", "failed", "failed"), "would be ignored: nothing to do, it is failed"),
            (
                ReplayPreview("fails", reason="TypeError: x"),
                "would fail, be retried, and be dead-lettered aga",
            ),
            (ReplayPreview("fails", reason="a\nb"), r"again: a\nb"),
            (ReplayPreview("dead_lettered", reason="not JSON"), "would be dead-lettered again: not JSON"),
        ],
    )
    def test_a_preview_is_a_line(self, preview: ReplayPreview, said: str) -> None:
        assert said in sentence(preview)
        assert len(sentence(preview).splitlines()) == 1


class TestRehearsal:
    """What a service would make of events, against a store in memory."""

    def add(self, state: Account | None, event: Event, context: Context) -> Reaction[Account]:
        return Reaction(account((state.total if state else 0) + 1), [PaymentRefunded(**self.refund)])

    def refuse(self, state: Account | None, event: Event, context: Context) -> Reaction[Account]:
        raise OutOfOrder("too early")

    refund: Mapping[str, Any] = {"order_id": "o-1", "amount": 0, "currency": "USD"}

    async def test_events_see_each_other_and_nothing_is_saved(self) -> None:
        store = MemoryStore()
        reactions: Reactions[Account, Context] = table(
            on(PaymentFailed, self.add, publishes=[PaymentRefunded]), on(PaymentCompleted, self.refuse)
        )
        events = [FAILED, FAILED, event(PaymentFailed, "e-2"), event(PaymentCompleted)]
        rehearsed = await dry_run("s", reactions, store, events, lambda: NOW)
        assert [(before, outcome.name, outcome.state) for before, outcome in rehearsed] == [
            (None, "handled", account(1)),
            (account(1), "repeated", account(1)),
            (account(1), "handled", account(2)),
            (account(2), "failed", account(2)),
        ]
        assert rehearsed[0][1].emitted == rehearsed[1][1].emitted
        assert store.saved == {}


@pytest.mark.parametrize(
    "arguments",
    [["replay"], ["drop"], ["list", "--service", "shipping"], ["list", "--limit", "0"], ["list", "o-1"]],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(main.app, ["dead-letters", *arguments]).exit_code == 2
