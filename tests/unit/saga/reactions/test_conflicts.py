"""Write conflicts: what the engine does when another writer was faster."""

from collections.abc import Collection

from saga.errors import Conflict
from saga.messaging.results import Retry
from saga.reactions.application import result_of
from saga.reactions.engine import MAX_CONFLICT_ROUNDS, Engine
from saga.reactions.step import Outcome
from saga.reactions.unit_of_work import UnitOfWork
from tests.support.accounts import FAILED, Account, Context, MemoryStore, account, add, step, texts
from tests.support.builders import NOW
from tests.support.clock import Clock


class TestConflicts:
    async def test_a_conflicting_step_is_loaded_and_run_again(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        await engine.run([step(add(10), "e-0")])
        store.rivals = [{"o-1"}]
        (outcome,) = await engine.run([step(add(1, FAILED), "e-1")])
        assert (outcome.name, outcome.state) == ("handled", account(11))
        assert len(outcome.emitted) == 1
        assert store.saved["o-1"].version == 3

    async def test_a_conflict_over_a_new_aggregate_is_run_again(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        store.rivals = [{"o-1"}]
        (outcome,) = await engine.run([step(add(1), "e-1")])
        assert (outcome.name, store.total("o-1")) == ("handled", 1)

    async def test_steps_without_a_conflict_run_once(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        store.rivals = [{"o-2"}]
        steps = [
            step(add(1, FAILED), "e-1", key="o-1"),
            step(add(1, FAILED), "e-2", key="o-2"),
            step(add(1, FAILED), "e-3", key="o-3"),
            step(add(1, FAILED), "e-4", key="o-2"),
        ]
        outcomes = await engine.run(steps)
        assert [outcome.name for outcome in outcomes] == ["handled"] * 4
        assert [outcome.state for outcome in outcomes] == [account(1), account(1), account(1), account(2)]
        assert store.loads[0] == ["e-1", "e-2", "e-3", "e-4"]
        assert [name for names in store.loads[1:] for name in names] == ["e-2", "e-4"]
        assert [store.total(f"o-{number}") for number in (1, 2, 3)] == [1, 2, 1]

    async def test_conflicts_make_the_rounds_smaller_until_one_succeeds(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        everything = {f"o-{number}" for number in range(64)}
        store.rivals = [everything, everything]
        outcomes = await engine.run([step(add(1), f"e-{number}", f"o-{number}") for number in range(64)])
        assert [outcome.name for outcome in outcomes] == ["handled"] * 64
        assert [len(names) for names in store.loads] == [64, 32, 16, 32, 16]
        assert {store.total(key) for key in everything} == {1}

    async def test_conflicting_steps_run_after_the_rest(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        store.rivals = [{f"o-{number}" for number in range(4)}, {"o-0"}]
        await engine.run([step(add(1), f"e-{number}", f"o-{number}") for number in range(4)])
        assert store.loads == [["e-0", "e-1", "e-2", "e-3"], ["e-0", "e-1"], ["e-2"], ["e-3", "e-0"]]

    async def test_one_hopeless_step_does_not_hold_up_an_atomic_store(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        store.all_or_nothing = True
        store.rivals = [{"o-0"} for _ in range(50)]
        outcomes = await engine.run([step(add(1), f"e-{number}", f"o-{number}") for number in range(8)])
        assert [outcome.name for outcome in outcomes] == ["conflict"] + ["handled"] * 7

    async def test_a_step_that_a_rival_handled_is_repeated(
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

    async def test_a_step_with_conflicts_only_may_be_run_again(
        self, engine: Engine[Account, Context], store: MemoryStore
    ) -> None:
        store.rivals = [{"o-1"} for _ in range(MAX_CONFLICT_ROUNDS)]
        lost, won = await engine.run([step(add(1, FAILED), "e-1"), step(add(1), "e-2", key="o-2")])
        assert (lost.name, won.name) == ("conflict", "handled")
        assert isinstance(lost.error, Conflict)
        assert not lost.emitted
        assert len(store.loads) == MAX_CONFLICT_ROUNDS
        assert isinstance(result_of(lost), Retry)
        (second,) = await engine.run([step(add(1, FAILED), "e-1")])
        assert (second.name, store.total("o-1")) == ("handled", 1)
