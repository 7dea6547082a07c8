"""What the inventory service relies on of its store: reservations and stock change together or not at all."""

import pytest

from events.catalogue import (
    InventoryConfirmationRequested,
    InventoryReleaseRequested,
    InventoryReservationRequested,
)
from events.values import Item
from inventory_service.context import ReservationContext
from inventory_service.reactions import confirm, release, reserve
from inventory_service.reservation import Reservation
from saga.reactions.reaction import Reaction
from saga.reactions.step import Step
from saga.reactions.unit_of_work import JournalEntry, UnitOfWork
from tests.contract.stores import STOCK_KEY, AnyDatabase, StockStore
from tests.support.builders import event
from tests.support.clock import START


def hold(order_id: str, quantity: int = 2) -> Step[Reservation, ReservationContext]:
    request: InventoryReservationRequested = event(
        InventoryReservationRequested,
        f"e-{order_id}",
        order_id=order_id,
        items=(Item(product_id="tea", quantity=quantity),),
    )
    return Step(
        key=order_id,
        name=request.type,
        record_id=str(request.event_id),
        correlation_id="c-1",
        react=lambda state, world: reserve(state, request, world),
        arguments=(request,),
    )


def released(order_id: str) -> Step[Reservation, ReservationContext]:
    request: InventoryReleaseRequested = event(InventoryReleaseRequested, f"r-{order_id}", order_id=order_id)
    return Step(
        key=order_id,
        name=request.type,
        record_id=str(request.event_id),
        correlation_id="c-1",
        react=lambda state, world: release(state, request, world),
        arguments=(request,),
    )


def take(
    unit: UnitOfWork[Reservation, ReservationContext], step: Step[Reservation, ReservationContext]
) -> Reaction[Reservation]:
    """React as the batch logic does."""
    entry = unit.entries[step.key]
    reaction = step.react(entry.state, unit.context)
    unit.accept(reaction)
    entry.state = reaction.state
    entry.journal[step.record_id] = JournalEntry(step.name, START, "any")
    entry.changed = True
    return reaction


async def prepared(
    store: StockStore, *steps: Step[Reservation, ReservationContext]
) -> UnitOfWork[Reservation, ReservationContext]:
    unit = await store.load(steps, {})
    for step in steps:
        take(unit, step)
    return unit


async def parts(db: AnyDatabase) -> tuple[int, int, int]:
    level = await db.level()
    return level.available, level.reserved, level.allocated


async def test_reservations_and_stock_are_written_together(db: AnyDatabase) -> None:
    await db.put(5)
    store = await db.stock()
    assert not await store.save(await prepared(store, hold("o-1"), hold("o-2"), hold("o-3")))
    found = [await store.get(key) for key in ("o-1", "o-2", "o-3")]
    assert [one and one.status for one in found] == ["held", "held", "rejected"]
    assert await parts(db) == (1, 4, 0)
    assert (await db.level()).owned == 5


async def test_a_level_is_set_only_at_the_version_that_was_read(db: AnyDatabase) -> None:
    store = await db.stock()
    assert await store.set_level(*STOCK_KEY, 5, 1) is None
    await db.put(5)
    assert not await store.save(await prepared(store, hold("o-1")))
    seen = await db.level()
    changed = await store.set_level(*STOCK_KEY, 7, seen.version)
    assert changed == await db.level()
    assert changed is not None
    assert changed.version > seen.version
    assert await parts(db) == (7, 2, 0)
    assert changed.owned == 9
    assert await store.set_level(*STOCK_KEY, 9, seen.version) is None
    assert changed == await db.level()
    assert await store.set_level(*STOCK_KEY, 1, None) == await db.level()
    assert await parts(db) == (1, 2, 0)
    assert (await db.level()).owned == 3


async def test_without_stock_the_reservation_is_not_written(db: AnyDatabase) -> None:
    await db.put(5)
    store, other = await db.stock(), await db.stock()
    mine = await prepared(store, hold("o-1", 4))
    assert not await other.save(await prepared(other, hold("o-2", 4)))
    assert set(await store.save(mine)) == {"o-1"}
    assert await store.get("o-1") is None
    assert await parts(db) == (1, 4, 0)


async def test_one_stale_reservation_writes_nothing(db: AnyDatabase) -> None:
    await db.put(5)
    store, other = await db.stock(), await db.stock()
    mine = await prepared(store, hold("o-1", 1), hold("o-2", 1))
    assert not await other.save(await prepared(other, hold("o-1", 1)))
    assert set(await store.save(mine)) == {"o-1", "o-2"}
    assert await store.get("o-2") is None
    assert await parts(db) == (4, 1, 0)


async def test_moves_that_cancel_out_are_still_all_or_nothing(db: AnyDatabase) -> None:
    await db.put(2)
    store, other = await db.stock(), await db.stock()
    assert not await store.save(await prepared(store, hold("o-1", 2)))
    mine = await prepared(store, released("o-1"), hold("o-2", 2))
    theirs = await prepared(other, released("o-1"))
    assert not await other.save(theirs)
    assert set(await store.save(mine)) == {"o-1", "o-2"}
    assert await store.get("o-2") is None
    assert await parts(db) == (2, 0, 0)


def confirmed(order_id: str) -> Step[Reservation, ReservationContext]:
    request: InventoryConfirmationRequested = event(
        InventoryConfirmationRequested, f"c-{order_id}", order_id=order_id
    )
    return Step(
        key=order_id,
        name=request.type,
        record_id=str(request.event_id),
        correlation_id="c-1",
        react=lambda state, world: confirm(state, request, world),
        arguments=(request,),
    )


async def test_levels_are_loaded_only_where_a_plan_needs_them(db: AnyDatabase) -> None:
    await db.put(9)
    store = await db.stock()
    assert (await store.load([hold("o-1")], {})).context.stock.available == {STOCK_KEY: 9}
    assert not await store.save(await prepared(store, hold("o-1")))
    assert (await store.load([hold("o-1")], {})).context.stock.available == {}
    assert (await store.load([confirmed("o-1")], {})).context.stock.available == {}
    assert (await store.load([released("o-1")], {})).context.stock.available == {}
    entry = (await store.fetch(["o-1"]))["o-1"]
    assert entry.state is not None
    entry.state, entry.changed = entry.state.model_copy(update={"status": "expired"}), True
    assert not await store.write([entry])
    assert (await store.load([confirmed("o-1")], {})).context.stock.available == {STOCK_KEY: 7}


async def test_a_plan_refuses_products_that_were_not_loaded(db: AnyDatabase) -> None:
    await db.put(9)
    unit = await (await db.stock()).load([released("o-1")], {})
    with pytest.raises(LookupError, match="tea were not loaded"):
        unit.context.stock.knows("tea")


async def test_reservations_alone_are_written_all_or_none(db: AnyDatabase) -> None:
    await db.put(9)
    store, other = await db.stock(), await db.stock()
    assert not await store.save(await prepared(store, hold("o-1"), hold("o-2")))
    mine = await store.fetch(["o-1", "o-2"])
    for entry in mine.values():
        entry.changed, entry.wake_at = True, START
    theirs = (await other.fetch(["o-1"]))["o-1"]
    theirs.changed = True
    assert not await other.write([theirs])
    assert await store.write(mine.values()) == {"o-1", "o-2"}
    assert (await store.fetch(["o-2"]))["o-2"].version == 1
