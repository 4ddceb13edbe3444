"""The settings that every service has; each service adds its own and a prefix for the environment."""

import ipaddress
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

LogLevel = Literal["debug", "info", "warning", "error"]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that binds `host` (a name or an address)."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class ServiceSettings(BaseSettings):
    """Base of the services' settings: frozen, read once from the environment in `main`.

    A subclass sets `model_config = SettingsConfigDict(env_prefix="WINNOW_<ROLE>_")` and a default for `port`.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    host: str = Field(default="127.0.0.1", description="Address to bind.")
    port: int = Field(ge=0, le=65_535, description="TCP port to bind; 0 takes a free one.")
    log_level: LogLevel = Field(default="info", description="Least severe level that is logged.")
    default_deadline_s: float = Field(
        default=30.0, gt=0, allow_inf_nan=False, description="Seconds for an answer where the caller names no deadline."
    )
    max_deadline_s: float = Field(
        default=120.0, gt=0, allow_inf_nan=False, description="Most seconds for an answer, whatever the caller asks."
    )
    max_body_bytes: int = Field(
        default=32 * 1024 * 1024, gt=0, description="Most bytes of a request body that is not a video upload."
    )
    body_timeout_s: float = Field(
        default=30.0, gt=0, allow_inf_nan=False, description="Seconds for a body that is not a video upload to arrive."
    )
    shutdown_grace_s: float = Field(
        default=20.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds in which requests in flight may end after SIGTERM; the rest get a 503.",
    )
    data_dir: Path = Field(default=Path("winnow-data"), description="Directory of everything the service keeps.")


class InternalSettings(ServiceSettings):
    """Settings of a service that other services call: beyond loopback it asks them for a token."""

    service_token: SecretStr | None = Field(
        default=None, description="Token that callers of this service's /v1 routes must present; none means no check."
    )

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.service_token is not None and not self.service_token.get_secret_value():
            raise ValueError("service_token must not be empty")
        if self.service_token is None and not is_loopback(self.host):
            raise ValueError(f"host {self.host} is reachable from other machines: set service_token as well")
        return self
