"""Settings of the gateway, read from WINNOW_GATEWAY_* and DATABASE_URL."""

from pathlib import Path
from typing import ClassVar

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from services.policy import default_policy_path
from services.settings import ServiceSettings

MIB = 1024 * 1024


class Settings(ServiceSettings):
    """Everything about a gateway that an operator can choose."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_GATEWAY_", populate_by_name=True)
    public: ClassVar[bool] = True

    port: int = Field(default=8080, ge=0, le=65_535, description="TCP port to bind; 0 takes a free one.")
    router_url: str = Field(
        default="http://127.0.0.1:8081", description="Base URL of the router, or of its load balancer."
    )
    router_token: SecretStr | None = Field(default=None, description="Token that the router asks of its callers.")
    router_attempts: int = Field(default=2, ge=1, le=10, description="Times that the router is asked about one video.")
    database_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("WINNOW_GATEWAY_DATABASE_URL", "DATABASE_URL"),
        description="Where decisions are kept: `sqlite:///...` or `postgresql://...`; none: SQLite in `data_dir`.",
    )
    database_pool_size: int = Field(default=10, ge=1, le=1_000, description="Connections to PostgreSQL of one process.")
    database_timeout_s: float = Field(
        default=5.0, gt=0, allow_inf_nan=False, description="Seconds for one database call."
    )
    policy_path: Path = Field(default_factory=default_policy_path, description="The policy, a YAML file.")
    spool_dir: Path | None = Field(
        default=None, description="Directory of videos in flight, emptied at start; none means one in `data_dir`."
    )
    spool_max_bytes: int = Field(default=8_192 * MIB, gt=0, description="Most bytes of all videos in flight together.")
    spool_min_free_bytes: int = Field(
        default=256 * MIB, ge=0, description="Free bytes that the spool leaves on its disk."
    )
    max_video_bytes: int = Field(default=512 * MIB, gt=0, description="Most bytes of one video.")
    max_json_bytes: int = Field(default=256 * 1024, gt=0, description="Most bytes of the JSON part of a request.")
    upload_timeout_s: float = Field(
        default=300.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds for an upload to arrive; the deadline starts after it.",
    )
    max_concurrent_decisions: int = Field(
        default=64,
        ge=1,
        le=10_000,
        description="Decisions worked on at once, uploads included; more are answered with 429.",
    )
    overload_retry_after_s: float = Field(
        default=1.0, gt=0, description="Seconds named by Retry-After where a 429 is sent."
    )
    readiness_timeout_s: float = Field(
        default=1.0, gt=0, description="Seconds in which a dependency must say it is ready."
    )
    readiness_ttl_s: float = Field(default=1.0, ge=0, description="Seconds for which readiness is remembered.")

    @property
    def spool_path(self) -> Path:
        """Directory of videos in flight."""
        return self.spool_dir or self.data_dir / "gateway" / "spool"

    @property
    def database(self) -> str:
        """URL of the database; it may hold a password."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{(self.data_dir / 'gateway' / 'gateway.db').absolute()}"
