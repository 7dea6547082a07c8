"""The batch logic, against a store in memory."""

import asyncio

import pytest

from events.catalogue import Event, PaymentCompleted, PaymentFailed
from events.codec import decode
from events.identity import derived_id
from saga.errors import OutOfOrder, Refused, Unavailable
from saga.reactions.engine import YIELD_EVERY, Engine
from saga.reactions.reaction import Reaction, Rule
from saga.reactions.step import Step
from tests.support.accounts import (
    COMPLETED,
    FAILED,
    FAILED_TOO,
    REFUNDED,
    Account,
    Context,
    MemoryStore,
    account,
    add,
    again,
    fail,
    ids,
    recorded,
    step,
    texts,
    unpublished,
)


class TestHandling:
    async def test_a_step_saves_the_state_and_its_events(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        (outcome,) = await engine.run([step(add(2, FAILED))])
        assert (outcome.name, outcome.state, outcome.error) == ("handled", account(2), None)
        (emitted,) = outcome.emitted
        assert not outcome.relayed
        assert emitted.event_id == derived_id("e-1", "PaymentFailed")
        assert (decode(emitted.body).causation_id, emitted.correlation_id) == ("e-1", "c-1")
        assert store.total("o-1") == 2
        assert store.saved["o-1"].journal["e-1"].name == "e-1"
        assert recorded(store, "e-1") == [emitted.event_id]
        assert not unpublished(store)

    @pytest.mark.parametrize(
        ("steps", "turns"), [(YIELD_EVERY - 1, 0), (YIELD_EVERY, 1), (3 * YIELD_EVERY, 3)]
    )
    async def test_a_long_batch_yields_to_the_event_loop(
        self, engine: Engine[Account, Context], steps: int, turns: int
    ) -> None:
        had: list[int] = []

        async def other() -> None:
            while True:
                had.append(1)
                await asyncio.sleep(0)

        others = asyncio.create_task(other())
        await asyncio.sleep(0)
        before = len(had)
        await engine.run([step(add(1), f"e-{number}", f"o-{number}") for number in range(steps)])
        assert len(had) - before == turns
        others.cancel()

    async def test_a_step_without_events_is_recorded(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        await engine.run([step(add(2))])
        assert recorded(store, "e-1") == []
        (outcome,) = await engine.run([step(add(2))])
        assert (outcome.name, store.total("o-1")) == ("repeated", 2)

    async def test_a_step_without_effect_is_not_written(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        (outcome,) = await engine.run([step(lambda state, context: Reaction(state))])
        assert (outcome.name, outcome.state, list(outcome.emitted)) == ("ignored", None, [])
        assert not store.saved

    async def test_a_step_with_events_only_is_recorded(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        await engine.run([step(add(2))])
        await engine.run([step(lambda state, context: Reaction(state, [FAILED]), "e-2")])
        assert recorded(store, "e-2") == [derived_id("e-2", "PaymentFailed")]

    async def test_two_events_of_one_type_get_an_index(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        (outcome,) = await engine.run([step(add(1, FAILED, COMPLETED, FAILED_TOO))])
        expected = [
            derived_id("e-1", "PaymentFailed"),
            derived_id("e-1", "PaymentCompleted"),
            derived_id("e-1", "PaymentFailed", 1),
        ]
        assert ids(outcome.emitted) == expected
        assert recorded(store, "e-1") == expected

    async def test_steps_on_one_aggregate_in_one_batch_see_each_other(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        outcomes = await engine.run([step(add(2, FAILED), "e-1"), step(add(3, FAILED), "e-2")])
        assert [outcome.state for outcome in outcomes] == [account(2), account(5)]
        assert store.total("o-1") == 5
        assert set(store.saved["o-1"].journal) == {"e-1", "e-2"}
        assert store.saved["o-1"].version == 1

    async def test_steps_see_what_the_others_changed_in_the_context(
        self, engine: Engine[Account, Context]
    ) -> None:
        seen: list[Context] = []

        def look(state: Account | None, context: Context) -> Reaction[Account]:
            seen.append(list(context))
            return Reaction(state)

        await engine.run([step(look, "e-0"), step(add(2), key="o-2"), step(look, "e-2")])
        assert seen == [[], [str(account(2))]]

    async def test_a_batch_is_loaded_and_saved_once(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        await engine.run([step(add(1), key=f"o-{number}") for number in range(50)])
        assert len(store.loads) == 1
        assert len(store.saved) == 50

    async def test_no_steps_need_no_store(self, engine: Engine[Account, Context], store: MemoryStore) -> None:
        store.away = True
        assert await engine.run([]) == []

    async def test_an_unavailable_store_is_reported_to_the_caller(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        store.away = True
        with pytest.raises(Unavailable):
            await engine.run([step(add(1))])


class TestRepetition:
    async def test_a_repeated_step_returns_the_recorded_events(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        (first,) = await engine.run([step(add(2, FAILED, COMPLETED, FAILED_TOO))])
        (second,) = await engine.run([step(add(2, REFUNDED))])
        assert texts(second) == texts(first)
        assert (second.name, second.state, store.total("o-1")) == ("repeated", account(2), 2)

    async def test_a_step_may_be_repeated_within_one_batch(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        first, second = await engine.run([step(add(2, FAILED)), step(add(2, FAILED))])
        assert texts(second) == texts(first)
        assert store.total("o-1") == 2

    async def test_a_repeated_step_writes_nothing(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        for _ in range(3):
            await engine.run([step(add(2, FAILED))])
        assert store.saved["o-1"].version == 1

    async def test_another_request_gets_the_first_answer_again(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        (first,) = await engine.run([step(add(2, FAILED), "e-1")])
        (other,) = await engine.run([step(again("e-1"), "e-2")])
        assert (other.name, texts(other)) == ("repeated", texts(first))
        assert set(store.saved["o-1"].journal) == {"e-1"}

    async def test_an_answer_that_was_never_given_has_no_events(
        self, engine: Engine[Account, Context]
    ) -> None:
        (outcome,) = await engine.run([step(again("e-9"), "e-2")])
        assert (outcome.name, list(outcome.emitted)) == ("repeated", [])


class TestLateAnswers:
    async def test_late_answers_are_recorded_with_their_request(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        await engine.run([step(add(1), "e-1")])
        (answer,) = await engine.run([answered(COMPLETED)])
        assert answer.name == "handled"
        (late,) = answer.relayed
        assert late.event_id == derived_id("e-1", "PaymentCompleted")
        assert decode(late.body).causation_id == "e-1"
        assert recorded(store, "e-1") == [late.event_id]
        journal = store.saved["o-1"].journal
        assert [(key, record.name) for key, record in journal.items()] == [
            ("e-1", "e-1"),
            ("answered", "answered"),
        ]

    async def test_late_answers_wait_for_the_relay(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        await engine.run([step(add(1, REFUNDED), "e-1")])
        (answer,) = await engine.run([answered(FAILED)])
        assert not answer.emitted
        assert unpublished(store) == ids(answer.relayed)

    async def test_the_waiting_message_publishes_its_answer(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        await engine.run([step(add(1), "e-1")])
        (answer,) = await engine.run([answered(COMPLETED, message="e-1")])
        assert ids(answer.emitted) == [derived_id("e-1", "PaymentCompleted")]
        assert not answer.relayed
        assert unpublished(store) == []

    async def test_no_message_publishes_the_answer_to_another(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        await engine.run([step(add(1), "e-1"), step(add(1), "e-2")])
        (answer,) = await engine.run([answered(COMPLETED, message="e-2")])
        assert not answer.emitted
        assert unpublished(store) == ids(answer.relayed)

    async def test_a_reaction_may_ask_for_the_relay(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        await engine.run([step(add(1), "e-1")])
        react = add(1, COMPLETED, append_to="e-1", relay=True)
        (answer,) = await engine.run([step(react, "answered", continues=True, message="e-1")])
        assert not answer.emitted
        assert unpublished(store) == ids(answer.relayed)

    async def test_a_second_answer_publishes_the_first_one(self, engine: Engine[Account, Context]) -> None:
        """Who recorded it may have been cut off before it was published."""
        await engine.run([step(add(1), "e-1")])
        (first,) = await engine.run([answered(COMPLETED, message="e-1")])
        unchanged = step(lambda state, _: Reaction(state), "answered", continues=True, message="e-1")
        (second,) = await engine.run([unchanged])
        assert second.name == "repeated"
        assert texts(second) == texts(first) != []

    async def test_a_redelivered_request_returns_its_late_answers(
        self, engine: Engine[Account, Context]
    ) -> None:
        (first,) = await engine.run([step(add(1, REFUNDED), "e-1")])
        (late,) = await engine.run([answered(FAILED)])
        (later,) = await engine.run([answered(FAILED_TOO, name="answered-1")])
        (repeated,) = await engine.run([step(add(1), "e-1")])
        assert texts(repeated) == [one.body for one in (*first.emitted, *late.relayed, *later.relayed)]
        assert ids(repeated.emitted) == [
            derived_id("e-1", "PaymentRefunded"),
            derived_id("e-1", "PaymentFailed"),
            derived_id("e-1", "PaymentFailed", 1),
        ]

    async def test_a_step_that_continues_reacts_each_time(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        for _ in range(2):
            (outcome,) = await engine.run([step(add(1, FAILED), "answered", continues=True)])
            assert outcome.name == "handled"
        assert store.total("o-1") == 2
        assert len(set(recorded(store, "answered"))) == 2


class TestFailure:
    @pytest.mark.parametrize("error", [OutOfOrder("later"), Refused("no"), ValueError("bug"), KeyError("x")])
    async def test_a_failing_step_does_not_affect_the_others(
        self, engine: Engine[Account, Context], store: MemoryStore, error: Exception
    ) -> None:
        outcomes = await engine.run(
            [
                step(add(1, FAILED), "e-1"),
                step(fail(error), "e-2"),
                step(fail(error), "e-3", key="o-2"),
                step(add(1, FAILED), "e-4"),
            ]
        )
        assert [outcome.name for outcome in outcomes] == ["handled", "failed", "failed", "handled"]
        assert outcomes[1].error is error
        assert outcomes[1].state == account(1)
        assert not outcomes[1].emitted
        assert store.total("o-1") == 2
        assert set(store.saved["o-1"].journal) == {"e-1", "e-4"}
        assert "o-2" not in store.saved

    async def test_a_failed_step_can_be_run_again(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        await engine.run([step(fail(OutOfOrder("later")))])
        (outcome,) = await engine.run([step(add(1, FAILED))])
        assert outcome.name == "handled"
        assert store.total("o-1") == 1

    async def test_an_undeclared_event_fails(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        rule = Rule(add(1, FAILED, COMPLETED), publishes=[PaymentFailed])
        (outcome,) = await engine.run([step(lambda state, context: rule(state, context))])
        assert isinstance(outcome.error, TypeError)
        assert "PaymentCompleted" in str(outcome.error)
        assert not store.saved

    def test_a_declared_event_may_be_published(self) -> None:
        rule = Rule(add(1, FAILED), publishes=[PaymentFailed, PaymentCompleted])
        assert rule(None, []) == Reaction(account(1), (FAILED,))


class TestRelayed:
    async def test_events_that_no_message_causes_wait_for_the_relay(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        (outcome,) = await engine.run([step(add(1, FAILED, COMPLETED), message=None)])
        assert unpublished(store) == ids(outcome.relayed)
        assert [one.type for one in outcome.relayed] == ["PaymentFailed", "PaymentCompleted"]
        assert not outcome.emitted

    async def test_a_later_step_keeps_the_waiting_events(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        await engine.run([step(add(1, FAILED), "t-1", message=None), step(add(1, COMPLETED), "e-2")])
        await engine.run([step(add(1, REFUNDED), "e-3")])
        assert unpublished(store) == [derived_id("t-1", "PaymentFailed")]

    async def test_a_repeated_relayed_step_does_not_wait_again(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        (first,) = await engine.run([step(add(1, FAILED), message=None)])
        (second,) = await engine.run([step(add(1, FAILED), message=None)])
        assert texts(second) == [one.body for one in first.relayed]
        assert len(unpublished(store)) == 1


def answered(event: Event, name: str = "answered", message: str | None = None) -> Step[Account, Context]:
    """Return a step that answers the request e-1."""
    return step(add(1, event, append_to="e-1"), name, continues=True, message=message)
