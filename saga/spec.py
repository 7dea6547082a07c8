"""What a service consists of, in one object; everything that runs or simulates a service reads it."""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from events.catalogue import short_name
from saga.messaging.topology import DEFAULT_DELAYS, Topology, exchange_of
from saga.mongodb.client import Database, connect, database
from saga.reactions.reaction import Reactions, Rule, Transitions
from saga.reactions.store import AggregateStore
from saga.settings import ServiceSettings


class ServiceStore(AggregateStore[Any, Any], Protocol):
    """The store that a service runs on."""

    async def prepare(self) -> None:
        """Make the database ready, before anything else is asked of the store."""

    @property
    def chores(self) -> Sequence[Callable[[], Coroutine[Any, Any, None]]]:
        """What runs as long as the process."""


ST = TypeVar("ST", bound=ServiceStore)
CF = TypeVar("CF", bound=ServiceSettings)


@dataclass(frozen=True, slots=True)
class ServiceSpec(Generic[CF, ST]):
    """One service: its name, its settings, its tables, and how to open its store."""

    name: str
    settings: type[CF]
    reactions: Reactions[Any, Any]
    transitions: Transitions[Any, Any]
    open_store: Callable[[Database, CF], ST]

    @property
    def short_name(self) -> str:
        """`order` for `order_service`."""
        return short_name(self.name)

    @property
    def env_prefix(self) -> str:
        """What the environment variables of its settings begin with: `ORDER_`."""
        return self.settings.model_config.get("env_prefix", "")

    @property
    def port_variable(self) -> str:
        """The environment variable that fixes its HTTP port."""
        return f"{self.env_prefix}PORT"

    @property
    def port(self) -> int:
        """The HTTP port it serves by default."""
        return int(self.settings.model_fields["port"].default)

    @property
    def exchange(self) -> str:
        """The topic exchange that it publishes to."""
        return exchange_of(self.name)

    @property
    def rules(self) -> list[Rule[Any, Any, Any]]:
        """Every rule of its two tables."""
        return [*self.reactions.values(), *self.transitions]

    def topology(self, delays: tuple[float, ...] = DEFAULT_DELAYS) -> Topology:
        """Return what it has at the broker; `delays` are its pauses before another attempt, in seconds."""
        return Topology(
            service=self.name,
            reacts_to={kind.__name__ for kind in self.reactions},
            publishes={kind.__name__ for rule in self.rules for kind in rule.publishes},
            delays=delays,
        )

    @contextmanager
    def connected(self, settings: CF, mongodb_url: str) -> Iterator[ST]:
        """Open its store; the connection is closed at the end."""
        client = connect(mongodb_url)
        try:
            yield self.open_store(database(client, settings.database), settings)
        finally:
            client.close()
