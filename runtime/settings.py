"""The settings all services have; each service adds its own. They come from the environment."""

from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from messaging.topology import DEFAULT_DELAYS


class ServiceSettings(BaseSettings):
    """Read from the environment: `RABBITMQ_URL` and `MONGODB_URL` as they are, the rest with the prefix of
    the service, as in `ORDER_PORT`."""

    model_config = SettingsConfigDict(extra="ignore")

    rabbitmq_url: SecretStr = Field(
        SecretStr("amqp://guest:guest@127.0.0.1:5672/"), validation_alias="RABBITMQ_URL"
    )
    mongodb_url: SecretStr = Field(SecretStr("mongodb://127.0.0.1:27017/"), validation_alias="MONGODB_URL")
    log_level: str = Field("info", validation_alias="LOG_LEVEL")
    host: str = "127.0.0.1"
    port: int
    database: str
    batch_limit: Annotated[int, Field(ge=1, le=1000)] = 100
    """Messages handled together."""
    prefetch: Annotated[int, Field(ge=1, le=10_000)] = 200
    """Messages held unacknowledged."""
    retry_delays: Annotated[tuple[float, ...], NoDecode] = DEFAULT_DELAYS
    """Pauses before a failed message is tried again, in seconds: `1,5,30,300`."""
    publish_timeout: Annotated[float, Field(gt=0)] = 10.0
    """Seconds the broker has to confirm."""
    drain_timeout: Annotated[float, Field(ge=0)] = 10.0
    """Seconds that work in hand has to finish at a stop."""
    relay_patience: Annotated[float, Field(gt=0)] = 2.0
    """Seconds after which an unpublished event counts as left over."""
    sweep_every: Annotated[float, Field(gt=0)] = 0.5
    """Seconds between two looks for what is due."""
