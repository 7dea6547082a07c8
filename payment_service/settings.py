"""The settings of the payment service, from the environment: `PAYMENT_PORT` and so on."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode, SettingsConfigDict

from payment_service.reactions import Retries
from payment_service.simulated import Behaviour, Rule, read_rule
from runtime.settings import Port, Seconds, ServiceSettings


def _rules(value: object) -> object:
    return tuple(read_rule(text.strip()) for text in value.split(",")) if isinstance(value, str) else value


Rules = Annotated[tuple[Rule, ...], NoDecode, BeforeValidator(_rules)]


class PaymentSettings(ServiceSettings):
    """See `runtime.settings`; those beginning with `sim_` tell the simulated provider how to behave."""

    model_config = SettingsConfigDict(env_prefix="PAYMENT_", extra="ignore")

    port: Port = 8003
    database: str = "payment_service"
    call_timeout: Seconds = 4.0
    """Seconds a message waits for the provider; after that, a sweeper goes on with it."""
    refund_attempts: Annotated[int, Field(ge=1, le=100)] = 5
    """How often a refund may be refused before a person is told; it is tried again all the same."""
    refund_pause: Seconds = 10.0
    """Seconds after which a refused refund is tried again; then twice as long each time, up to an hour."""
    sim_delay: Annotated[float, Field(ge=0)] = 0.0
    """Seconds each charge takes."""
    sim_decline_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the charges that are declined."""
    sim_decline_above: Decimal | None = None
    """Charges of more than this are declined."""
    sim_seed: int = 0
    """Which charges are declined, and which a rule with a rate fits."""
    sim_rules: Rules = ()
    """What happens to which charges, the first that fits: `above:1000=decline,rate:0.1=timeout:1`."""

    def retries(self) -> Retries:
        """Return how a refused refund is tried again."""
        return Retries(self.refund_attempts, timedelta(seconds=self.refund_pause))

    def behaviour(self) -> Behaviour:
        """Return how the simulated provider is to behave."""
        return Behaviour(
            delay=self.sim_delay,
            decline_rate=self.sim_decline_rate,
            decline_above=self.sim_decline_above,
            seed=self.sim_seed,
            rules=self.sim_rules,
        )
