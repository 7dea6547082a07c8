"""The settings that all services have, from the environment; each service adds its own."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from saga.http.auth import Access, is_local, parse
from saga.messaging.topology import DEFAULT_DELAYS
from saga.reactions.unit_of_work import Patience
from saga.tls import broker_url, check_ca_file, database_url


def _split(value: object) -> object:
    return value.split(",") if isinstance(value, str) else value


def _amqp(url: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(url.get_secret_value())
        good = parts.scheme in ("amqp", "amqps") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError("must be an amqp:// URL, with special characters in the password escaped (/ as %2F)")
    return url


def _mongodb(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("must be a mongodb:// URL")
    return url


Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=24 * 3600)]
CaFile = Annotated[Path | None, AfterValidator(lambda file: file and check_ca_file(file))]
Pauses = Annotated[tuple[Seconds, ...], NoDecode, BeforeValidator(_split)]


class ServiceSettings(BaseSettings):
    """Settings from environment variables.

    URLs, CA bundles, tokens and the log level have one name for all services, such as `RABBITMQ_URL`; the
    names of the others begin with the service's, as in `ORDER_PORT`.
    """

    model_config = SettingsConfigDict(extra="ignore", use_attribute_docstrings=True)

    rabbitmq_url: Annotated[SecretStr, AfterValidator(_amqp)] = Field(
        SecretStr("amqp://guest:guest@127.0.0.1:5672/"), validation_alias="RABBITMQ_URL"
    )
    """The broker, `amqp://` or `amqps://`."""
    mongodb_url: Annotated[SecretStr, AfterValidator(_mongodb)] = Field(
        SecretStr("mongodb://127.0.0.1:27017/"), validation_alias="MONGODB_URL"
    )
    """The database, a replica set of one node at least."""
    tokens: SecretStr = Field(SecretStr(""), validation_alias="SAGA_TOKENS")
    """Bearer tokens that open the HTTP API, with their scopes: `orders:TOKEN stock,operate:TOKEN`. Required
    unless the service listens on this machine only."""
    tokens_file: Path | None = Field(None, validation_alias="SAGA_TOKENS_FILE")
    """A file with more such tokens."""
    rabbitmq_ca_file: CaFile = Field(None, validation_alias="RABBITMQ_CA_FILE")
    """CA bundle for the broker's certificate (`amqps://`); default: those of the system."""
    mongodb_ca_file: CaFile = Field(None, validation_alias="MONGODB_CA_FILE")
    """CA bundle for the database's certificate (`tls=true`); default: those of the system."""
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", validation_alias="LOG_LEVEL")
    """`debug`, `info`, `warning` or `error`."""
    host: str = "127.0.0.1"
    """The address to listen on."""
    port: Port
    """The port of the HTTP API."""
    database: str
    """The name of the service's database."""
    batch_limit: Annotated[int, Field(ge=1, le=1000)] = 100
    """Messages handled in one batch, at most."""
    prefetch: Annotated[int, Field(ge=1, le=10_000)] = 200
    """Messages that the service holds unacknowledged, at most."""
    retry_delays: Pauses = DEFAULT_DELAYS
    """Seconds before each retry of a message that failed; then it is dead-lettered."""
    publish_timeout: Seconds = 10.0
    """Seconds within which the broker has to confirm a message."""
    drain_timeout: Annotated[float, Field(ge=0)] = 10.0
    """Seconds that unfinished work has at a stop."""
    relay_after: Seconds = 2.0
    """Seconds after which any replica publishes an event that was saved and not published."""
    nudge_after: Seconds = 60.0
    """Seconds without an answer after which a request is published again; then twice as long each time, up to
    an hour."""
    sweep_every: Seconds = 0.5
    """Seconds between two searches for what is due."""

    archive_after: Annotated[float, Field(ge=0)] = Field(0.0, validation_alias="ARCHIVE_AFTER")
    """Seconds after which what is finished is moved to the archive, a collection of its own; 0: never."""

    def archived_after(self) -> timedelta | None:
        """Return the time at rest after which what is finished is archived; None: never."""
        return timedelta(seconds=self.archive_after) if self.archive_after else None

    def patience(self) -> Patience:
        """Return how long saved aggregates are left alone."""
        return Patience(timedelta(seconds=self.relay_after), timedelta(seconds=self.nudge_after))

    def access(self) -> Access:
        """Return the tokens from the environment and the file.

        Raises:
            ValueError: one is malformed, or the file cannot be read.
        """
        text = self.tokens.get_secret_value()
        if self.tokens_file is not None:
            try:
                text += "\n" + self.tokens_file.read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{self.tokens_file} cannot be read: {type(error).__name__}") from None
        return parse(text)

    @field_validator("rabbitmq_ca_file")
    @classmethod
    def _fits_the_broker_url(cls, file: Path | None, known: ValidationInfo) -> Path | None:
        if url := known.data.get("rabbitmq_url"):
            broker_url(url.get_secret_value(), file)
        return file

    @field_validator("mongodb_ca_file")
    @classmethod
    def _fits_the_database_url(cls, file: Path | None, known: ValidationInfo) -> Path | None:
        if url := known.data.get("mongodb_url"):
            database_url(url.get_secret_value(), file)
        return file

    @property
    def broker(self) -> str:
        """The broker's URL with its CA bundle; a secret."""
        return broker_url(self.rabbitmq_url.get_secret_value(), self.rabbitmq_ca_file)

    @property
    def mongodb(self) -> str:
        """The database's URL with its CA bundle; a secret."""
        return database_url(self.mongodb_url.get_secret_value(), self.mongodb_ca_file)


T = TypeVar("T", bound=ServiceSettings)


def read(kind: type[T]) -> T:
    """Return the settings; if one is wrong, name it without its value, and exit with code 2."""
    try:
        return kind()
    except ValidationError as error:
        prefix = kind.model_config.get("env_prefix", "")
        for problem in error.errors(include_input=False, include_url=False):
            name = str(problem["loc"][0])
            variable = name if name.isupper() else f"{prefix}{name}".upper()
            sys.stderr.write(f"{variable}: {problem['msg']}\n")
        sys.exit(2)


def read_to_serve(kind: type[T]) -> T:
    """Return the settings of a service that serves HTTP; exit with code 2 also if tokens are missing.

    They are required unless the service listens on this machine only.
    """
    settings = read(kind)
    try:
        if settings.access().open and not is_local(settings.host):
            raise ValueError(
                f"missing, but other machines can reach {settings.host or 'every address'}; set "
                "SAGA_TOKENS=orders,stock,payments,operate:$(openssl rand -hex 24), or name a file with such "
                "tokens in SAGA_TOKENS_FILE, or listen on this machine only: "
                f"{kind.model_config.get('env_prefix', '')}HOST=127.0.0.1"
            )
    except ValueError as error:
        sys.stderr.write(f"SAGA_TOKENS: {error}\n")
        sys.exit(2)
    return settings
