"""The result of a message, by the outcome of its step."""

import pytest

from saga.errors import OutOfOrder
from saga.messaging.results import Handled, Retry
from saga.reactions.application import result_of
from saga.reactions.step import Outcome
from tests.support.accounts import COMPLETED, Account


class TestResult:
    def test_a_failure_is_retried_with_its_reason(self) -> None:
        outcome: Outcome[Account] = Outcome("failed", None, error=OutOfOrder("unknown"))
        assert result_of(outcome) == Retry("OutOfOrder: unknown")

    @pytest.mark.parametrize("name", ["handled", "repeated", "ignored"])
    def test_any_other_outcome_publishes_its_events(self, name: str) -> None:
        assert result_of(Outcome(name, Account(), [COMPLETED])) == Handled([COMPLETED], name)
