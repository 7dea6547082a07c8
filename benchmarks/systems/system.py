"""What every system offers to the benchmark."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.stamps import Stamps
from events.catalogue import INVENTORY, ORDER, PAYMENT

CLIENT = "client"
ROLES = (ORDER, INVENTORY, PAYMENT, CLIENT)
"""Who connects to a server: three services, and the client that places the orders."""
BROKER, DATABASE = "broker", "database"
PARTS = (BROKER, DATABASE, *ROLES)


@dataclass(frozen=True, slots=True)
class Addresses:
    """The URLs of broker and database, by role."""

    broker: Mapping[str, str]
    database: Mapping[str, str]


class Running(Protocol):
    """A system that runs."""

    @property
    def processes(self) -> Mapping[str, Sequence[int]]:
        """The ids of its services' processes, by role."""

    async def submit(self, number: int) -> None:
        """Place an order of the workload; return once it is durably accepted."""


class Stored(Protocol):
    """A system's databases, which last from its first start to its check."""

    @property
    def addresses(self) -> Addresses:
        """Where broker and databases are."""

    @property
    def processes(self) -> Sequence[int]:
        """The ids of the database's processes."""

    def running(
        self, addresses: Addresses, stamps: Stamps, directory: Path
    ) -> AbstractAsyncContextManager[Running]:
        """Run the services; may be repeated, one run after the other."""

    async def problems(self, count: int) -> list[str]:
        """Return what is wrong with what is stored of the first `count` orders, which have all ended."""


class Broker(Protocol):
    """A broker whose users are those of the services, and some others (`saga.messaging.users`)."""

    @property
    def url(self) -> str:
        """Its URL for the operator."""

    def url_of(self, user: str) -> str:
        """Its URL for a user."""

    @property
    def management_url(self) -> str:
        """The URL of its management API."""


class System(Protocol):
    """A system that can be measured."""

    @property
    def name(self) -> str: ...
    @property
    def about(self) -> str: ...
    def stored(self, directory: Path, broker: Broker) -> AbstractAsyncContextManager[Stored]:
        """Start new databases, with the stock of the workload in them."""
