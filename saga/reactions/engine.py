"""The batch logic: load, react in memory, save once, and repeat the steps that met a write conflict.

What this process wrote last it does not read again, and what is mostly new it does not look for: it reacts on
what it assumes. That is safe under one rule: only a guarded write may conclude from an assumption. A step
that ends without one (ignored, repeated, refused) is run again on what was read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar

import structlog

from events.encoded import EncodedEvent
from events.identity import with_identity
from saga import metrics
from saga.backoff import backoff, jittered
from saga.errors import Conflict, OutOfOrder, Refused
from saga.reactions.aggregate import Aggregate
from saga.reactions.cache import AggregateCache, PublishedEvents
from saga.reactions.reaction import Reaction
from saga.reactions.step import Outcome, Step
from saga.reactions.store import Store
from saga.reactions.unit_of_work import JournalEntry, LoadedAggregate, Patience, UnitOfWork

A = TypeVar("A", bound=Aggregate)
C = TypeVar("C")

log = structlog.get_logger()

MAX_CONFLICT_ROUNDS = 8
"""Rounds with write conflicts, after which the caller has to repeat the steps that met them."""
YIELD_EVERY = 10
"""Reactions after which control returns to the event loop: a large order may take half a second."""
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.2
"""Seconds between two rounds that met a write conflict, at most."""


class Engine(Generic[A, C]):
    """Runs the steps of one service against its store."""

    def __init__(
        self,
        service: str,
        store: Store[A, C],
        clock: Callable[[], datetime],
        patience: Patience | None = None,
        published: PublishedEvents | None = None,
        cache: AggregateCache[A] | None = None,
    ) -> None:
        """Without a `cache`, nothing is remembered between two runs."""
        self._service = service
        self._store = store
        self._clock = clock
        self._patience = patience or Patience()
        self._published = published or PublishedEvents()
        self._cache = cache or AggregateCache(limit=0)

    async def run(self, steps: Sequence[Step[A, C]], *, fresh: bool = False) -> list[Outcome[A]]:
        """Run the steps; return the outcome of each, which is saved unless it is a conflict.

        Steps on one aggregate see each other's result. A step that fails changes nothing, and does not affect
        the others. With `fresh`, nothing is assumed.

        Raises:
            Unavailable: the store cannot be reached; some steps may be saved, and running them again is safe.
        """
        outcomes: dict[int, Outcome[A]] = {}
        to_read = {step.key for step in steps} if fresh else set[str]()
        conflicting: set[int] = set()
        todo = list(range(len(steps)))
        chunk = len(todo)
        conflicts = 0
        while todo:
            chosen, todo = todo[:chunk], todo[chunk:]
            unit = await self._load([steps[index] for index in chosen], to_read)
            assumed = {key for key, entry in unit.entries.items() if entry.assumed}
            tried = await self._react(steps, chosen, unit)
            stale = await self._save(unit.entries.values(), partial(self._store.save, unit))
            undecided = _undecided(unit, assumed, stale)
            to_read |= undecided
            again = [index for index in chosen if steps[index].key in stale or steps[index].key in undecided]
            outcomes.update({index: tried[index] for index in chosen if index not in again})
            # Conflicting steps run after the rest, which may have nothing to do with the conflict.
            todo += again
            lost = [index for index in again if steps[index].key in stale]
            if not lost:
                chunk = min(len(steps), chunk * 2)
                continue
            metrics.write_conflicts(self._service).inc(len(lost))
            if assumed & set(stale):
                continue  # they are read now, and may have been the only reason
            conflicts += 1
            conflicting.update(lost)
            if conflicts >= MAX_CONFLICT_ROUNDS:
                outcomes.update({index: _conflict() for index in todo if index in conflicting})
                todo = [index for index in todo if index not in conflicting]
            chunk = max(1, chunk // 2)
            await asyncio.sleep(jittered(backoff(FIRST_PAUSE, conflicts, LONGEST_PAUSE), least=0))
        return [outcomes[index] for index in range(len(steps))]

    async def reschedule(self, entries: Sequence[LoadedAggregate[A]]) -> None:
        """Save when these, freshly loaded, have to be woken next, and forget what of them is published.

        One that was changed since stays as it is: it has its own time.

        Raises:
            Unavailable: the store cannot be reached.
        """
        for entry in entries:
            entry.changed = True
        stale = await self._save(entries, partial(self._store.write, entries))
        if len(stale) == len(entries) > 1:
            # A store that writes all or none may have failed for one of them alone.
            half = len(entries) // 2
            await self.reschedule(entries[:half])
            await self.reschedule(entries[half:])

    async def _load(self, steps: Sequence[Step[A, C]], to_read: Collection[str]) -> UnitOfWork[A, C]:
        assumed: dict[str, LoadedAggregate[A]] = {}
        for step in steps:
            if step.key in to_read or step.key in assumed:
                continue
            if known := self._cache.get(step.key):
                assumed[step.key] = replace(known, assumed=True)
            elif step.creates:
                assumed[step.key] = LoadedAggregate(step.key, assumed=True)
        return await self._store.load(steps, assumed)

    async def _react(
        self, steps: Sequence[Step[A, C]], chosen: Sequence[int], unit: UnitOfWork[A, C]
    ) -> dict[int, Outcome[A]]:
        tried: dict[int, Outcome[A]] = {}
        for number, index in enumerate(chosen, 1):
            tried[index] = self._take(steps[index], unit)
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
        return tried

    async def _save(
        self,
        entries: Iterable[LoadedAggregate[A]],
        write: Callable[[], Awaitable[Collection[str]]],
    ) -> Collection[str]:
        """Have changed entries written, each with its timer, and remembered; return the stale keys."""
        changed = [entry for entry in entries if entry.changed]
        now = self._clock()
        published = {entry.key: self._published.of(entry.key) for entry in changed}
        for entry in changed:
            if published[entry.key]:
                entry.forget_unpublished(published[entry.key])
            entry.set_timer(now, self._patience)
            # Until the write has succeeded, nothing is known about what is stored.
            self._cache.drop(entry.key)
        stale = await write()
        for entry in changed:
            if entry.key not in stale:
                self._published.forget(entry.key, published[entry.key])
                self._cache.put(replace(entry, version=entry.version + 1, assumed=False, changed=False))
        return stale

    def _take(self, step: Step[A, C], unit: UnitOfWork[A, C]) -> Outcome[A]:
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
        if reaction.state is None or (reaction.state == entry.state and not reaction.emits):
            # What this message asked for may have been answered by another step, without publishing it.
            known = entry.journal.get(step.message) if step.message else None
            return Outcome("repeated" if known else "ignored", entry.state, _events(known))
        unit.accept(reaction)
        return self._accept(step, entry, reaction, reaction.state)

    def _accept(
        self, step: Step[A, C], entry: LoadedAggregate[A], reaction: Reaction[A], state: A
    ) -> Outcome[A]:
        now = self._clock()
        entry.state = state
        entry.changed = True
        entry.nudges = 0
        entry.nudge_at = now + self._patience.nudge if state.unanswered_requests else None
        new = JournalEntry(step.name, now, state.status)
        own = entry.journal.get(step.record_id, new)
        entry.journal[step.record_id] = replace(own, at=now, status=state.status)
        record_id = reaction.append_to or step.record_id
        record = entry.journal.get(record_id, new)
        emitted = _identified(step, reaction, record_id, record, now)
        relayed = reaction.relay or record_id != step.message
        if emitted:
            entry.journal[record_id] = replace(
                record,
                emitted=(*record.emitted, *(event.body for event in emitted)),
                unpublished=(*record.unpublished, *(event.event_id for event in emitted if relayed)),
            )
        return Outcome("handled", state, relayed=emitted) if relayed else Outcome("handled", state, emitted)


def _undecided(unit: UnitOfWork[Any, Any], assumed: Collection[str], stale: Collection[str]) -> set[str]:
    """Return the assumed aggregates whose steps have to be run on what is read: only a write proves them."""
    return {key for key in assumed if key in stale or not unit.entries[key].changed}


def _identified(
    step: Step[Any, Any], reaction: Reaction[Any], record_id: str, record: JournalEntry, now: datetime
) -> list[EncodedEvent]:
    """Return the events of a reaction, encoded with the ids that follow from their record."""
    if not reaction.emits:
        return []
    events = with_identity(
        reaction.emits,
        record_id=record_id,
        caused_by=reaction.append_to or step.message,
        correlation_id=step.correlation_id,
        occurred_at=now,
        already=[event.type for event in _events(record)],
    )
    return [EncodedEvent.of(event) for event in events]


def _events(record: JournalEntry | None) -> list[EncodedEvent]:
    return [EncodedEvent.read(body) for body in record.emitted] if record else []


def _conflict() -> Outcome[Any]:
    return Outcome("conflict", None, error=Conflict("others keep changing the same documents"))
