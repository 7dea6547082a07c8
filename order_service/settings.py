"""The settings of the order service, from the environment: `ORDER_PORT` and so on."""

from pydantic_settings import SettingsConfigDict

from runtime.settings import Port, ServiceSettings


class OrderSettings(ServiceSettings):
    """See `runtime.settings`."""

    model_config = SettingsConfigDict(env_prefix="ORDER_", extra="ignore")

    port: Port = 8001
    database: str = "order_service"
