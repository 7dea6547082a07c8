"""The tables that authors write: what the type checker finds in them, and what fails when they are made.

mypy checks this file too: a `type: ignore` is an error of its own as soon as there is nothing to ignore.
"""

from datetime import datetime

import pytest

from events.catalogue import InventoryReleased, InventoryReserved, PaymentFailed
from saga.reactions.reaction import Reaction, Reactions, Transition, Transitions, on, table
from saga.reactions.step import transition_step


class Order:
    """One aggregate."""


class Payment:
    """Another one."""


def hold(order: Order | None, event: InventoryReserved, now: datetime) -> Reaction[Order]:
    return Reaction(order)


def pay(payment: Payment | None, event: InventoryReserved, now: datetime) -> Reaction[Payment]:
    return Reaction(payment)


def rename(order: Order | None, name: str, now: datetime) -> Reaction[Order]:
    return Reaction(order)


RENAME = Transition(rename)


def test_a_rule_for_the_wrong_event_is_a_type_error() -> None:
    on(InventoryReserved, hold)
    on(InventoryReleased, hold)  # type: ignore[arg-type]


def test_a_rule_for_the_wrong_state_is_a_type_error() -> None:
    right: Reactions[Order, datetime] = table(on(InventoryReserved, hold))
    wrong: Reactions[Order, datetime] = table(on(InventoryReserved, pay))  # type: ignore[arg-type]
    assert right.keys() == wrong.keys()


def test_a_transition_of_the_wrong_state_is_a_type_error() -> None:
    right: Transitions[Order, datetime] = (RENAME,)
    wrong: Transitions[Payment, datetime] = (RENAME,)  # type: ignore[assignment]
    assert len(right) == len(wrong)


def test_wrong_arguments_of_a_transition_are_a_type_error() -> None:
    step = transition_step("s", RENAME, "o-1", "c-1", "tea")
    assert step.arguments == ("tea",)
    transition_step("s", RENAME, "o-1", "c-1")  # type: ignore[misc]
    transition_step("s", RENAME, "o-1", "c-1", 5)  # type: ignore[misc]


def test_two_rules_for_one_event_are_refused() -> None:
    with pytest.raises(ValueError, match="one event"):
        table(on(InventoryReserved, hold), on(InventoryReserved, hold))


def test_a_rule_is_named_like_its_function() -> None:
    _, rule = on(InventoryReserved, hold, publishes=[PaymentFailed])
    assert (rule.name, rule.publishes) == ("hold", (PaymentFailed,))


def test_a_transition_is_made_once_for_each_deduplicate_by() -> None:
    first, second, other = (
        transition_step("s", RENAME, "o-1", "c-1", "tea", deduplicate_by=occasion)
        for occasion in ("", "", "-1")
    )
    assert first.record_id == second.record_id != other.record_id
