"""The settings of the order service, from the environment: `ORDER_PORT` and so on."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from saga.settings import Port, ServiceSettings


class OrderSettings(ServiceSettings):
    """See `saga.settings`."""

    model_config = SettingsConfigDict(env_prefix="ORDER_", extra="ignore")

    port: Port = 8001
    database: str = "order_service"
    rate: Annotated[float, Field(gt=0, le=1_000_000)] = 200.0
    """Orders a second that each caller may place at this replica."""
    burst: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Orders that a caller may place at once after a pause."""
    backlog_limit: Annotated[int, Field(ge=1, le=1_000_000)] = 5000
    """Messages waiting to be handled from which on no order is accepted; the answer is 503."""
