"""What an order or a setting directs the simulated provider to do.

An order gives directives in its `paymentMethod`:

    sim:approve             approve at once, as without a payment method
    sim:decline             decline
    sim:delay:SECONDS       approve so long after the first call for this key
    sim:timeout:N           leave the first N calls for this key without an answer, then approve
    sim:outage:SECONDS      be down for every order for so long from the first call for this key, then approve
    sim:pending:SECONDS     be pending for so long, with an action for the customer, then approve
    sim:expire:SECONDS      be pending for so long, then expire
    sim:no-notification     send no notification of the decision on a pending charge or refund
    sim:notify-twice        notify of a decision made at once, too; of a later one, again after a second
    sim:refuse-refund:N     approve, and refuse the first N attempts to refund
    sim:pending-refund:SECONDS  approve, and have refunds pending for so long

Several may be combined: `sim:delay:2:refuse-refund:1`. To a charge without directives, the first rule of the
settings applies that matches its amount, its order, or a share of all charges:

    above:AMOUNT=DIRECTIVES   order:PATTERN=DIRECTIVES   rate:SHARE=DIRECTIVES   such as   rate:0.1=timeout:1
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from hashlib import sha256

from payment_service.providers.base import Charge

LONGEST_WAIT = 24 * 3600.0
KNOWN = {
    *("approve", "decline", "delay", "timeout", "outage", "pending", "expire", "no-notification"),
    *("notify-twice", "refuse-refund", "pending-refund"),
}

Directives = Mapping[str, float]
"""Each directive with its number, 0 if it has none."""


@dataclass(frozen=True, slots=True)
class ChargeRule:
    """Directives for the charges that match: `condition` is `above`, `order` or `rate`."""

    condition: str
    value: str
    directives: Directives

    def matches(self, charge: Charge, seed: int) -> bool:
        """Return whether the rule applies to a charge."""
        if self.condition == "above":
            return charge.amount > Decimal(self.value)
        if self.condition == "order":
            return fnmatchcase(charge.key.removeprefix("order-"), self.value)
        return draw(seed, charge.key) < float(self.value)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What happens to charges without directives: the first rule that matches; then a share of
    `decline_rate` (0 to 1), and amounts above `decline_above`, are declined. `delay` is in seconds."""

    delay: float = 0.0
    decline_rate: float = 0.0
    decline_above: Decimal | None = None
    seed: int = 0
    rules: tuple[ChargeRule, ...] = ()

    def directives(self, charge: Charge) -> Directives:
        """Return the directives of a charge, its own or those of the first rule that matches."""
        own = parse_directives(charge.payment_method)
        if own:
            return own
        return next((rule.directives for rule in self.rules if rule.matches(charge, self.seed)), {})

    def declines(self, charge: Charge) -> bool:
        """Return whether a charge is declined for its amount, or by the draw."""
        if self.decline_above is not None and charge.amount > self.decline_above:
            return True
        return draw(self.seed, charge.key) < self.decline_rate


def parse_rule(text: str) -> ChargeRule:
    """Parse `CONDITION:VALUE=DIRECTIVES`.

    Raises:
        ValueError: it is not of that form; the value is not shown.
    """
    left, _, right = text.partition("=")
    condition, _, value = left.partition(":")
    directives = parse_directives(f"sim:{right}")
    if not directives or directives.keys() - KNOWN or not _is_comparable(condition, value):
        raise ValueError("a rule is CONDITION:VALUE=DIRECTIVES, such as rate:0.1=timeout:1")
    return ChargeRule(condition, value, directives)


def parse_directives(payment_method: str | None) -> Directives:
    """Return the directives of a payment method; one that does not begin with `sim:` has none."""
    first, *parts = (payment_method or "").split(":")
    directives: dict[str, float] = {}
    word = ""
    for part in parts if first == "sim" else []:
        try:
            number = float(part)
        except ValueError:
            word = part
            directives[word] = 0.0
        else:
            directives[word] = min(max(0.0, number), LONGEST_WAIT)
    return directives


def draw(seed: int, key: str) -> float:
    """Return a number from 0 to 1, always the same for one seed and key."""
    return int(sha256(f"{seed}/{key}".encode()).hexdigest()[:8], 16) / 0xFFFFFFFF


def _is_comparable(condition: str, value: str) -> bool:
    if condition == "order":
        return bool(value)
    try:
        number = Decimal(value)
    except InvalidOperation:
        return False
    return number.is_finite() and (condition == "above" or (condition == "rate" and 0 <= number <= 1))
