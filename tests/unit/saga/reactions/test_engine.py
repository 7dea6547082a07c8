"""The batch logic, against a store in memory."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import pytest

from events.catalogue import Event, PaymentCompleted, PaymentFailed, PaymentRefunded
from events.codec import encode
from events.identity import derived_id
from saga.errors import Conflict, OutOfOrder, Refused, Unavailable
from saga.messaging.results import Handled, Retry
from saga.reactions.application import result
from saga.reactions.engine import MAX_CONFLICT_ROUNDS, YIELD_EVERY, Engine
from saga.reactions.reaction import Reaction, Rule
from saga.reactions.step import Outcome, Step
from saga.reactions.unit_of_work import LoadedAggregate, UnitOfWork
from tests.support.builders import NOW, event
from tests.support.clock import Clock


@dataclass(frozen=True)
class Account:
    """An aggregate as simple as can be."""

    total: int = 0


Context = list[str]
React = Callable[[Account | None, Context], Reaction[Account]]


class Room(UnitOfWork[Account, Context]):
    """What a batch works on; every accepted reaction leaves a note in the context."""

    def accept(self, reaction: Reaction[Account]) -> None:
        self.context.append(f"{reaction.state}")


class MemoryStore:
    """A `Store` that keeps copies, guards them by version, and can be told to lose races."""

    def __init__(self) -> None:
        self.saved: dict[str, LoadedAggregate[Account]] = {}
        self.loads: list[list[str]] = []
        self.races: list[set[str]] = []
        self.away = False
        self.all_or_nothing = False

    async def load(self, steps: Sequence[Step[Account, Context]]) -> UnitOfWork[Account, Context]:
        if self.away:
            raise Unavailable("gone")
        self.loads.append([step.name for step in steps])
        entries = {step.key: deepcopy(self.saved.get(step.key, LoadedAggregate(step.key))) for step in steps}
        return Room(entries, [])

    async def save(self, unit: UnitOfWork[Account, Context]) -> Collection[str]:
        rivals = self.races.pop(0) if self.races else set()
        for key in rivals:
            self.write(deepcopy(self.saved.get(key, LoadedAggregate(key))))
        changed = [entry for entry in unit.entries.values() if entry.changed]
        stale = {entry.key for entry in changed if entry.version != self.version(entry.key)}
        if stale and self.all_or_nothing:
            return set(unit.entries)
        for entry in changed:
            if entry.key not in stale:
                self.write(entry)
        return stale

    def version(self, key: str) -> int:
        return self.saved[key].version if key in self.saved else 0

    def write(self, entry: LoadedAggregate[Account]) -> None:
        waiting = self.saved[entry.key].queued if entry.key in self.saved else []
        self.saved[entry.key] = replace(
            deepcopy(entry),
            version=entry.version + 1,
            changed=[],
            queued=waiting + [one for one in entry.queued if one not in waiting],
        )

    def total(self, key: str) -> int:
        state = self.saved[key].state
        return state.total if state else 0


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nobody wait who has lost a race."""
    monkeypatch.setattr("saga.reactions.engine.FIRST_PAUSE", 0.0)
    monkeypatch.setattr("saga.reactions.engine.LONGEST_PAUSE", 0.0)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def engine(store: MemoryStore) -> Engine[Account, Context]:
    return Engine("test_service", store, Clock(NOW, tick=1.0005))


def add(units: int, *emits: Event, **options: Any) -> React:
    """Return a reaction that adds to the total."""

    def react(state: Account | None, context: Context) -> Reaction[Account]:
        return Reaction(Account((state or Account()).total + units), emits, **options)

    return react


def fail(error: Exception) -> React:
    def react(state: Account | None, context: Context) -> Reaction[Account]:
        raise error

    return react


def again(record: str) -> React:
    return lambda state, context: Reaction(state, repeat_of=record)


def step(react: React, name: str = "e-1", key: str = "o-1", **options: Any) -> Step[Account, Context]:
    """Return a step that the event of this id asks for."""
    return Step(
        key=key,
        name=name,
        record_id=name,
        correlation_id="c-1",
        react=react,
        caused_by=name,
        **options,
    )


FAILED = PaymentFailed(order_id="o-1", reason="x")
FAILED_TOO = PaymentFailed(order_id="o-1", reason="y")
COMPLETED = event(PaymentCompleted)
REFUNDED = PaymentRefunded(order_id="o-1", amount=0, currency="USD")


def texts(outcome: Outcome[Account]) -> list[bytes]:
    return [encode(one) for one in outcome.emitted]


def recorded(store: MemoryStore, record: str, key: str = "o-1") -> list[str]:
    """Return the ids of the events that are recorded under an id."""
    return [emitted["eventId"] for emitted in store.saved[key].journal[record].emitted]


class TestHandling:
    async def test_a_step_saves_the_state_and_what_it_emits(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        (outcome,) = await engine.run([step(add(2, FAILED))])
        assert (outcome.name, outcome.state, outcome.error) == ("handled", Account(2), None)
        (emitted,) = outcome.emitted
        assert not outcome.relayed
        assert emitted.event_id == derived_id("e-1", "PaymentFailed")
        assert (emitted.causation_id, emitted.correlation_id) == ("e-1", "c-1")
        assert store.total("o-1") == 2
        assert store.saved["o-1"].journal["e-1"].name == "e-1"
        assert recorded(store, "e-1") == [emitted.event_id]
        assert not store.saved["o-1"].queued

    @pytest.mark.parametrize(
        ("steps", "turns"), [(YIELD_EVERY - 1, 0), (YIELD_EVERY, 1), (3 * YIELD_EVERY, 3)]
    )
    async def test_a_long_batch_lets_others_have_their_turn(
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

    async def test_a_step_that_emits_nothing_is_remembered_too(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        await engine.run([step(add(2))])
        assert recorded(store, "e-1") == []
        (outcome,) = await engine.run([step(add(2))])
        assert (outcome.name, store.total("o-1")) == ("repeated", 2)

    async def test_a_step_that_changes_and_emits_nothing_is_ignored_and_not_written(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        (outcome,) = await engine.run([step(lambda state, context: Reaction(state))])
        assert (outcome.name, outcome.state, list(outcome.emitted)) == ("ignored", None, [])
        assert not store.saved

    async def test_a_step_that_only_emits_is_remembered(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        await engine.run([step(add(2))])
        await engine.run([step(lambda state, context: Reaction(state, [FAILED]), "e-2")])
        assert recorded(store, "e-2") == [derived_id("e-2", "PaymentFailed")]

    async def test_two_events_of_one_type_get_an_index(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        (outcome,) = await engine.run([step(add(1, FAILED, COMPLETED, FAILED_TOO))])
        ids = [
            derived_id("e-1", "PaymentFailed"),
            derived_id("e-1", "PaymentCompleted"),
            derived_id("e-1", "PaymentFailed", 1),
        ]
        assert [one.event_id for one in outcome.emitted] == ids
        assert recorded(store, "e-1") == ids

    async def test_steps_on_one_aggregate_in_one_batch_see_each_other(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        outcomes = await engine.run([step(add(2, FAILED), "e-1"), step(add(3, FAILED), "e-2")])
        assert [outcome.state for outcome in outcomes] == [Account(2), Account(5)]
        assert store.total("o-1") == 5
        assert set(store.saved["o-1"].journal) == {"e-1", "e-2"}
        assert store.saved["o-1"].version == 1

    async def test_they_see_what_the_others_did_beside_their_aggregates(
        self, engine: Engine[Account, Context]
    ) -> None:
        seen: list[Context] = []

        def look(state: Account | None, context: Context) -> Reaction[Account]:
            seen.append(list(context))
            return Reaction(state)

        await engine.run([step(look, "e-0"), step(add(2), key="o-2"), step(look, "e-2")])
        assert seen == [[], [str(Account(2))]]

    async def test_a_batch_is_loaded_and_saved_once(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        await engine.run([step(add(1), key=f"o-{number}") for number in range(50)])
        assert len(store.loads) == 1
        assert len(store.saved) == 50

    async def test_no_steps_need_no_store(self, engine: Engine[Account, Context], store: MemoryStore) -> None:
        store.away = True
        assert await engine.run([]) == []

    async def test_a_store_that_is_away_is_told_to_the_caller(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        store.away = True
        with pytest.raises(Unavailable):
            await engine.run([step(add(1))])


class TestRepetition:
    async def test_the_recorded_events_come_again_byte_for_byte(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        (first,) = await engine.run([step(add(2, FAILED, COMPLETED, FAILED_TOO))])
        (second,) = await engine.run([step(add(2, REFUNDED))])
        assert texts(second) == texts(first)
        assert (second.name, second.state, store.total("o-1")) == ("repeated", Account(2), 2)

    async def test_also_within_one_batch(self, engine: Engine[Account, Context], store: MemoryStore) -> None:
        first, second = await engine.run([step(add(2, FAILED)), step(add(2, FAILED))])
        assert texts(second) == texts(first)
        assert store.total("o-1") == 2

    async def test_nothing_is_written_for_it(
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

    async def test_an_answer_that_was_never_given_is_none(self, engine: Engine[Account, Context]) -> None:
        (outcome,) = await engine.run([step(again("e-9"), "e-2")])
        assert (outcome.name, list(outcome.emitted)) == ("repeated", [])


class TestLateAnswers:
    async def test_they_are_recorded_under_the_request_they_answer(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        await engine.run([step(add(1), "e-1")])
        (answer,) = await engine.run([step(add(1, COMPLETED, append_to="e-1"), "answered", continues=True)])
        assert answer.name == "handled"
        (late,) = answer.relayed
        assert late.event_id == derived_id("e-1", "PaymentCompleted")
        assert late.causation_id == "e-1"
        assert recorded(store, "e-1") == [late.event_id]
        assert set(store.saved["o-1"].journal) == {"e-1"}
        assert store.saved["o-1"].journal["e-1"].name == "e-1"

    async def test_they_wait_for_the_relay_since_the_request_may_be_done_with(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        await engine.run([step(add(1, REFUNDED), "e-1")])
        (answer,) = await engine.run([step(add(1, FAILED, append_to="e-1"), "answered", continues=True)])
        assert not answer.emitted
        assert store.saved["o-1"].queued == [one.event_id for one in answer.relayed]

    async def test_who_finds_the_request_answered_publishes_the_answer_too(
        self, engine: Engine[Account, Context]
    ) -> None:
        """Who recorded it may have been cut off before it was published."""
        await engine.run([step(add(1), "e-1")])
        (first,) = await engine.run([step(add(1, COMPLETED), "e-1", continues=True)])
        (second,) = await engine.run([step(lambda state, _: Reaction(state), "e-1", continues=True)])
        assert second.name == "repeated"
        assert texts(second) == texts(first) != []

    async def test_they_come_with_the_request_when_it_is_redelivered(
        self, engine: Engine[Account, Context]
    ) -> None:
        (first,) = await engine.run([step(add(1, REFUNDED), "e-1")])
        (late,) = await engine.run([step(add(1, FAILED, append_to="e-1"), "answered-0", continues=True)])
        (later,) = await engine.run([step(add(1, FAILED_TOO, append_to="e-1"), "answered-1", continues=True)])
        (repeated,) = await engine.run([step(add(1), "e-1")])
        assert texts(repeated) == [encode(one) for one in (*first.emitted, *late.relayed, *later.relayed)]
        assert [one.event_id for one in repeated.emitted] == [
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
    async def test_one_failing_step_spares_the_others(
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
        assert outcomes[1].state == Account(1)
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

    async def test_a_reaction_that_publishes_what_its_rule_does_not_name_fails(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        rule = Rule(add(1, FAILED, COMPLETED), publishes=[PaymentFailed])
        (outcome,) = await engine.run([step(lambda state, context: rule(state, context))])
        assert isinstance(outcome.error, TypeError)
        assert "PaymentCompleted" in str(outcome.error)
        assert not store.saved

    def test_what_its_rule_names_may_be_published(self) -> None:
        rule = Rule(add(1, FAILED), publishes=[PaymentFailed, PaymentCompleted])
        assert rule(None, []) == Reaction(Account(1), (FAILED,))


class TestRaces:
    async def test_a_stale_aggregate_is_loaded_and_run_again(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        await engine.run([step(add(10), "e-0")])
        store.races = [{"o-1"}]
        (outcome,) = await engine.run([step(add(1, FAILED), "e-1")])
        assert (outcome.name, outcome.state) == ("handled", Account(11))
        assert len(outcome.emitted) == 1
        assert store.saved["o-1"].version == 3

    async def test_a_race_for_a_new_aggregate_is_run_again(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        store.races = [{"o-1"}]
        (outcome,) = await engine.run([step(add(1), "e-1")])
        assert (outcome.name, store.total("o-1")) == ("handled", 1)

    async def test_the_winners_of_the_batch_are_run_once(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        store.races = [{"o-2"}]
        steps = [
            step(add(1, FAILED), "e-1", key="o-1"),
            step(add(1, FAILED), "e-2", key="o-2"),
            step(add(1, FAILED), "e-3", key="o-3"),
            step(add(1, FAILED), "e-4", key="o-2"),
        ]
        outcomes = await engine.run(steps)
        assert [outcome.name for outcome in outcomes] == ["handled"] * 4
        assert [outcome.state for outcome in outcomes] == [Account(1), Account(1), Account(1), Account(2)]
        assert store.loads[0] == ["e-1", "e-2", "e-3", "e-4"]
        assert [name for names in store.loads[1:] for name in names] == ["e-2", "e-4"]
        assert [store.total(f"o-{number}") for number in (1, 2, 3)] == [1, 2, 1]

    async def test_each_lost_race_makes_the_batches_smaller_until_one_is_won(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        everything = {f"o-{number}" for number in range(64)}
        store.races = [everything, everything]
        outcomes = await engine.run([step(add(1), f"e-{number}", f"o-{number}") for number in range(64)])
        assert [outcome.name for outcome in outcomes] == ["handled"] * 64
        assert [len(names) for names in store.loads] == [64, 32, 16, 32, 16]
        assert {store.total(key) for key in everything} == {1}

    async def test_who_lost_waits_behind_the_others(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        store.races = [{f"o-{number}" for number in range(4)}, {"o-0"}]
        await engine.run([step(add(1), f"e-{number}", f"o-{number}") for number in range(4)])
        assert store.loads == [["e-0", "e-1", "e-2", "e-3"], ["e-0", "e-1"], ["e-2"], ["e-3", "e-0"]]

    async def test_in_a_store_that_saves_all_or_nothing_only_who_loses_for_ever_gets_nowhere(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        store.all_or_nothing = True
        store.races = [{"o-0"} for _ in range(50)]
        outcomes = await engine.run([step(add(1), f"e-{number}", f"o-{number}") for number in range(8)])
        assert [outcome.name for outcome in outcomes] == ["conflict"] + ["handled"] * 7

    async def test_what_somebody_else_has_handled_meanwhile_is_repeated(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        """Two replicas are given the same event."""
        replica = Engine("test_service", store, Clock(NOW, tick=1.0005))
        mine = step(add(1, FAILED), "e-1")
        won: list[Outcome[Account]] = []
        save = store.save

        async def lose(unit: UnitOfWork[Account, Context]) -> Collection[str]:
            store.save = save  # type: ignore[method-assign]
            won.extend(await replica.run([mine]))
            return await save(unit)

        store.save = lose  # type: ignore[method-assign]
        (outcome,) = await engine.run([mine])
        assert outcome.name == "repeated"
        assert texts(outcome) == texts(won[0])
        assert store.total("o-1") == 1

    async def test_who_loses_for_ever_ends_in_a_conflict_and_may_be_run_again(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        store.races = [{"o-1"} for _ in range(MAX_CONFLICT_ROUNDS)]
        lost, won = await engine.run([step(add(1, FAILED), "e-1"), step(add(1), "e-2", key="o-2")])
        assert (lost.name, won.name) == ("conflict", "handled")
        assert isinstance(lost.error, Conflict)
        assert not lost.emitted
        assert len(store.loads) == MAX_CONFLICT_ROUNDS
        assert isinstance(result(lost), Retry)
        (second,) = await engine.run([step(add(1, FAILED), "e-1")])
        assert (second.name, store.total("o-1")) == ("handled", 1)


class TestRelayed:
    async def test_their_events_wait_for_the_relay(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        (outcome,) = await engine.run([step(add(1, FAILED, COMPLETED), relayed=True)])
        assert store.saved["o-1"].queued == [one.event_id for one in outcome.relayed]
        assert [one.type for one in outcome.relayed] == ["PaymentFailed", "PaymentCompleted"]
        assert not outcome.emitted

    async def test_a_message_keeps_what_waits(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        await engine.run([step(add(1, FAILED), "t-1", relayed=True), step(add(1, COMPLETED), "e-2")])
        await engine.run([step(add(1, REFUNDED), "e-3")])
        assert store.saved["o-1"].queued == [derived_id("t-1", "PaymentFailed")]

    async def test_a_repetition_is_published_by_who_asks_for_it_and_does_not_wait_again(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        (first,) = await engine.run([step(add(1, FAILED), relayed=True)])
        (second,) = await engine.run([step(add(1, FAILED), relayed=True)])
        assert texts(second) == [encode(one) for one in first.relayed]
        assert len(store.saved["o-1"].queued) == 1


class TestVerdict:
    def test_a_failure_is_tried_again_and_says_why(self) -> None:
        outcome: Outcome[Account] = Outcome("failed", None, error=OutOfOrder("nobody has heard of it"))
        assert result(outcome) == Retry("OutOfOrder: nobody has heard of it")

    @pytest.mark.parametrize("name", ["handled", "repeated", "ignored"])
    def test_anything_else_is_done_and_publishes_what_was_emitted(self, name: str) -> None:
        assert result(Outcome(name, Account(), [COMPLETED])) == Handled([COMPLETED], name)
