"""The settings of the inventory service, from the environment: `INVENTORY_PORT` and so on."""

from socket import gethostname
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from events.values import DEFAULT_HOLD
from inventory_service.allocation import BAND_KM
from saga.settings import Port, ServiceSettings


class InventorySettings(ServiceSettings):
    """See `saga.settings`."""

    model_config = SettingsConfigDict(env_prefix="INVENTORY_", extra="ignore")

    port: Port = 8002
    database: str = "inventory_service"
    hold_seconds: Annotated[int, Field(ge=1)] = int(DEFAULT_HOLD.total_seconds())
    """Seconds that a hold lasts when the order does not say. An order's deadline follows
    it only once inventory has answered, and assumes the default before that."""
    band_km: Annotated[float, Field(gt=0)] = BAND_KM
    """Width in kilometres of a distance band; warehouses in the same band count as equally near."""
    replica: str = ""
    """The name of this replica, the same after a restart; by default, host and port."""

    def replica_name(self) -> str:
        """Return the name of this replica."""
        return self.replica or f"{gethostname()}:{self.port}"
