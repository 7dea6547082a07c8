"""The settings of the payment service, from the environment: `PAYMENT_PORT` and so on."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo
from pydantic_settings import NoDecode, SettingsConfigDict

from payment_service.providers.directives import Behaviour, ChargeRule, parse_rule
from payment_service.providers.xendit.messages import MerchantSettings
from payment_service.reactions import Retries
from saga.settings import Port, Seconds, ServiceSettings


def _needed(value: SecretStr, info: ValidationInfo) -> SecretStr:
    if info.data.get("provider") == "xendit" and not value.get_secret_value():
        raise ValueError("must be set for the provider xendit")
    return value


def _rules(value: object) -> object:
    return tuple(parse_rule(text.strip()) for text in value.split(",")) if isinstance(value, str) else value


XenditSecret = Annotated[SecretStr, AfterValidator(_needed), Field(validate_default=True)]
Rules = Annotated[tuple[ChargeRule, ...], NoDecode, BeforeValidator(_rules)]


class PaymentSettings(ServiceSettings):
    """See `saga.settings`; those that begin with `sim_` are for the simulated provider, those that begin with
    `xendit_` for Xendit (`docs/payments.md`)."""

    model_config = SettingsConfigDict(env_prefix="PAYMENT_", extra="ignore")

    port: Port = 8003
    database: str = "payment_service"
    call_timeout: Seconds = 4.0
    """Seconds that a message waits for the provider; after that, a sweeper asks again."""
    refund_attempts: Annotated[int, Field(ge=1, le=100)] = 5
    """Refusals of a refund after which `PaymentRefundFailed` is published; it is retried all the same."""
    refund_pause: Seconds = 10.0
    """Seconds before a refused refund is retried; doubled each time, up to an hour."""
    provider: Literal["simulated", "xendit"] = "simulated"
    """`simulated` or `xendit`: [payment providers](payments.md)."""
    xendit_secret_key: XenditSecret = SecretStr("")
    """The secret API key; required for Xendit."""
    xendit_callback_token: XenditSecret = SecretStr("")
    """The webhook verification token; required for Xendit."""
    xendit_url: Annotated[str, Field(pattern=r"^https?://[^/?#@]+$")] = "https://api.xendit.co"
    """The address of Xendit's API."""
    xendit_return_url: Annotated[str, Field(pattern=r"^https://.{3,240}$")] | None = None
    """The page (https) that customers return to; wallets and cards need it."""
    xendit_display_name: Annotated[str, Field(min_length=1, max_length=50)] | None = None
    """The name that customers see on a bank transfer."""
    xendit_country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
    """The country of payments in USD, EUR and other currencies of several countries, such as `ID`."""
    sim_delay: Annotated[float, Field(ge=0)] = 0.0
    """Seconds each charge takes."""
    sim_decline_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the charges that are declined, from 0 to 1."""
    sim_decline_above: Decimal | None = None
    """Charges of more than this amount are declined."""
    sim_seed: int = 0
    """Seed that decides which charges are declined, and to which a rule with a rate applies."""
    sim_rules: Rules = ()
    """Rules for charges, of which the first that matches applies: `above:1000=decline,rate:0.1=timeout:1`."""

    def retries(self) -> Retries:
        """Return how a refused refund is retried."""
        return Retries(self.refund_attempts, timedelta(seconds=self.refund_pause))

    def merchant(self) -> MerchantSettings:
        """Return what Xendit needs to know about the merchant."""
        return MerchantSettings(self.xendit_return_url, self.xendit_display_name, self.xendit_country)

    def behaviour(self) -> Behaviour:
        """Return how the simulated provider behaves."""
        return Behaviour(
            delay=self.sim_delay,
            decline_rate=self.sim_decline_rate,
            decline_above=self.sim_decline_above,
            seed=self.sim_seed,
            rules=self.sim_rules,
        )
