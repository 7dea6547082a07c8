"""What the simulated provider has logged: the only evidence of money that was moved twice."""

import json
from collections.abc import Iterator


class Statement:
    """The charges and refunds in the log of a payment service, each key once."""

    def __init__(self, log: str) -> None:
        self._charges = set(_keys(log, "simulated_charge"))
        self._refunds = set(_keys(log, "simulated_refund"))

    def charges(self, order_id: str) -> set[str]:
        """Return the keys of an order's charges: each is a charge of its own."""
        return {key for key in self._charges if order_id in key}

    def refunds(self, order_id: str) -> set[str]:
        """Return the keys of an order's refunds."""
        return {key for key in self._refunds if order_id in key}


def _keys(log: str, event: str) -> Iterator[str]:
    for line in log.splitlines():
        if f'"event": "{event}"' in line:
            yield json.loads(line)["key"]
