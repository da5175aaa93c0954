"""The sections of config.yaml about the dashboard and the metrics: one process serves both."""

from typing import Annotated, Final, Self

from pydantic import Field, SecretStr, model_validator

from engine.config_scalars import Section, Switch, Whole, wrong

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
TOKEN_MIN: Final = 16

Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]
Port = Annotated[Whole, Field(ge=0, le=65_535)]


class DashboardSection(Section):
    """The web page: where it listens, and whether it may give commands."""

    enabled: Switch = True
    host: Host = "127.0.0.1"
    port: Port = 8_420
    token: SecretStr = SecretStr("")
    allow_commands: Switch = True
    allowed_hosts: Annotated[list[Host], Field(max_length=16)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _open_only_with_a_token(self) -> Self:
        given = self.given_token()
        if given and len(given) < TOKEN_MIN:
            raise wrong("token", f"should have at least {TOKEN_MIN} characters")
        if self.enabled and self.host not in LOOPBACK and not given:
            raise wrong("host", f"{self.host} is not loopback: that needs a token of your own")
        return self

    def given_token(self) -> str:
        """Return the token that the file gives, in the clear; empty: a fresh one each start."""
        return self.token.get_secret_value()


class MetricsSection(Section):
    """Prometheus metrics and the probes `/livez` and `/readyz`, without a token."""

    enabled: Switch = True
    host: Host = "127.0.0.1"
    port: Port = 9_420
