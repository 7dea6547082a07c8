"""The batch logic: load once, react in memory, save once, and repeat the steps that met a write conflict."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

import structlog

from events.catalogue import Event
from events.codec import from_json, to_json
from events.identity import with_identity
from saga import metrics
from saga.backoff import backoff, jittered
from saga.errors import Conflict, OutOfOrder, Refused
from saga.reactions.reaction import Reaction
from saga.reactions.step import Outcome, Step
from saga.reactions.store import Store
from saga.reactions.unit_of_work import JournalEntry, LoadedAggregate, UnitOfWork

S = TypeVar("S")
C = TypeVar("C")

log = structlog.get_logger()

MAX_CONFLICT_ROUNDS = 8
"""Rounds with write conflicts, after which the caller has to repeat the steps that met them."""
YIELD_EVERY = 10
"""Reactions after which control returns to the event loop: a large order may take half a second."""
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.2
"""Seconds between two rounds that met a write conflict, at most."""


class Engine(Generic[S, C]):
    """Runs the steps of one service against its store."""

    def __init__(self, service: str, store: Store[S, C], clock: Callable[[], datetime]) -> None:
        self._service = service
        self._store = store
        self._clock = clock

    async def run(self, steps: Sequence[Step[S, C]]) -> list[Outcome[S]]:
        """Run the steps; return the outcome of each, which is saved unless it is a conflict.

        Steps on one aggregate see each other's result. A step that fails changes nothing, and does not affect
        the others.

        Raises:
            Unavailable: the store cannot be reached; some steps may be saved, and running them again is safe.
        """
        outcomes: dict[int, Outcome[S]] = {}
        conflicting: set[int] = set()
        todo = list(range(len(steps)))
        chunk = len(todo)
        conflicts = 0
        while todo:
            stale_steps = await self._round(steps, todo[:chunk], outcomes)
            # Conflicting steps run after the rest, which may have nothing to do with the conflict.
            todo = [*todo[chunk:], *stale_steps]
            if not stale_steps:
                chunk = min(len(steps), chunk * 2)
                continue
            metrics.write_conflicts(self._service).inc(len(stale_steps))
            conflicts += 1
            conflicting.update(stale_steps)
            if conflicts >= MAX_CONFLICT_ROUNDS:
                outcomes.update({index: _conflict() for index in todo if index in conflicting})
                todo = [index for index in todo if index not in conflicting]
            chunk = max(1, chunk // 2)
            await asyncio.sleep(jittered(backoff(FIRST_PAUSE, conflicts, LONGEST_PAUSE), least=0))
        return [outcomes[index] for index in range(len(steps))]

    async def _round(
        self, steps: Sequence[Step[S, C]], chosen: Sequence[int], outcomes: dict[int, Outcome[S]]
    ) -> list[int]:
        unit = await self._store.load([steps[index] for index in chosen])
        tried: dict[int, Outcome[S]] = {}
        for number, index in enumerate(chosen, 1):
            tried[index] = self._take(steps[index], unit)
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
        stale: Collection[str] = await self._store.save(unit)
        stale_steps = [index for index in chosen if steps[index].key in stale]
        outcomes.update({index: outcome for index, outcome in tried.items() if index not in stale_steps})
        return stale_steps

    def _take(self, step: Step[S, C], unit: UnitOfWork[S, C]) -> Outcome[S]:
        entry = unit.entries[step.key]
        record = entry.journal.get(step.record_id)
        if record and not step.continues:
            return Outcome("repeated", entry.state, _events(record))
        try:
            reaction = step.react(entry.state, unit.context)
        except (OutOfOrder, Refused) as error:
            return Outcome("failed", entry.state, error=error)
        except Exception as error:
            log.exception("reaction_failed", step=step.name, order_id=step.key)
            return Outcome("failed", entry.state, error=error)
        if reaction.repeat_of is not None:
            return Outcome("repeated", entry.state, _events(entry.journal.get(reaction.repeat_of)))
        if reaction.state == entry.state and not reaction.emits:
            # Another step may have completed the record that this one continues, without publishing its
            # events: this one publishes them too.
            return Outcome("repeated" if record else "ignored", entry.state, _events(record))
        unit.accept(reaction)
        entry.state = reaction.state
        record_id = reaction.append_to or step.record_id
        emitted = self._record(step, entry, reaction, record_id)
        if step.relayed or record_id != step.record_id:
            # The message of that record may be acknowledged by now: only the relay can publish the events.
            entry.queued += [str(event.event_id) for event in emitted]
            return Outcome("handled", entry.state, relayed=emitted)
        return Outcome("handled", entry.state, emitted)

    def _record(
        self, step: Step[S, C], entry: LoadedAggregate[S], reaction: Reaction[S], record_id: str
    ) -> list[Event]:
        now = self._clock()
        record = entry.journal.setdefault(record_id, JournalEntry(step.name, now))
        emitted = with_identity(
            reaction.emits,
            record_id=record_id,
            caused_by=reaction.append_to or step.caused_by,
            correlation_id=step.correlation_id,
            occurred_at=now,
            already=[event["type"] for event in record.emitted],
        )
        record.emitted += [to_json(event) for event in emitted]
        if record_id not in entry.changed:
            entry.changed.append(record_id)
        return emitted


def _events(record: JournalEntry | None) -> list[Event]:
    return [from_json(event) for event in record.emitted] if record else []


def _conflict() -> Outcome[Any]:
    return Outcome("conflict", None, error=Conflict("others keep changing the same documents"))
