"""The settings of the payment service, from the environment: `PAYMENT_PORT` and so on."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from payment_service.simulated import Behaviour
from runtime.settings import Port, Seconds, ServiceSettings


class PaymentSettings(ServiceSettings):
    """See `runtime.settings`; those beginning with `sim_` tell the simulated provider how to behave."""

    model_config = SettingsConfigDict(env_prefix="PAYMENT_", extra="ignore")

    port: Port = 8003
    database: str = "payment_service"
    call_timeout: Seconds = 4.0
    """Seconds a message waits for the provider; after that, a sweeper goes on with it."""
    sim_delay: Annotated[float, Field(ge=0)] = 0.0
    """Seconds each charge takes."""
    sim_decline_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the charges that are declined."""
    sim_decline_above: Decimal | None = None
    """Charges of more than this are declined."""
    sim_seed: int = 0
    """Which charges are declined."""

    def behaviour(self) -> Behaviour:
        """Return how the simulated provider is to behave."""
        return Behaviour(
            delay=self.sim_delay,
            decline_rate=self.sim_decline_rate,
            decline_above=self.sim_decline_above,
            seed=self.sim_seed,
        )
