"""Settings of the gateway, read from WINNOW_GATEWAY_*, DATABASE_URL and REDIS_URL."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Self

from pydantic import AliasChoices, Field, SecretStr, StringConstraints, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from services.contracts import Verdict
from services.policy import default_policy_path
from services.settings import ServiceSettings, is_loopback

MIB = 1024 * 1024

Port = Annotated[int, Field(ge=1, le=65_535)]
HostPattern = Annotated[str, StringConstraints(pattern=r"^(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*$", max_length=253)]


class Settings(ServiceSettings):
    """Everything about a gateway that an operator can choose."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_GATEWAY_", populate_by_name=True)

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
    cache_ttl_s: float = Field(
        default=3600.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds for which a result may be reused for the same video and request; 0: the cache is off.",
    )
    cache_state_ttl_s: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="Seconds for which the router's state is believed: for so long an outdated result may be reused.",
    )
    cache_timeout_s: float = Field(
        default=0.25, gt=0, le=10, description="Seconds for one call to Redis; afterwards the video is routed."
    )
    cache_memory_bytes: int = Field(
        default=64 * MIB, gt=0, description="Most bytes of the cache where it is kept in memory."
    )
    redis_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("WINNOW_GATEWAY_REDIS_URL", "REDIS_URL"),
        description="Redis that gateways share: `redis://...`, `rediss://...` or `unix://...`; none, or `memory://`: "
        "this process's memory.",
    )
    redis_prefix: str = Field(default="winnow:", max_length=64, description="Begins every key in Redis.")
    redis_pool_size: int = Field(default=32, ge=1, le=1_000, description="Connections to Redis of one process.")
    policy_path: Path = Field(default_factory=default_policy_path, description="The policy, a YAML file.")
    spool_dir: Path | None = Field(
        default=None, description="Directory of videos in flight, emptied at start; none means one in `data_dir`."
    )
    spool_max_bytes: int = Field(default=8_192 * MIB, gt=0, description="Most bytes of all videos in flight together.")
    spool_min_free_bytes: int = Field(
        default=256 * MIB, ge=0, description="Free bytes that the spool leaves on its disk."
    )
    evidence_storage_url: str | None = Field(
        default=None,
        description="Where videos that were not allowed are kept: `file:///...`, `s3://bucket/prefix`; none: in "
        "`data_dir`.",
    )
    evidence_days_review: int = Field(
        default=7,
        ge=0,
        le=3_650,
        description="Days for which videos of the verdict `review` are kept; 0: they are not.",
    )
    evidence_days_block: int = Field(
        default=30,
        ge=0,
        le=3_650,
        description="Days for which videos of the verdict `block` are kept; 0: they are not.",
    )
    evidence_min_free_bytes: int = Field(
        default=1_024 * MIB,
        ge=0,
        description="Free bytes that kept videos leave on the disk of a local `evidence_storage_url`.",
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

    api_keys_path: Path | None = Field(
        default=None,
        description="YAML file of API keys, read again when it changes; none: loopback alone, and no key is asked for.",
    )
    fetch_enabled: bool = Field(default=True, description="Whether videos are fetched from URLs.")
    fetch_timeout_s: float = Field(
        default=120.0, gt=0, allow_inf_nan=False, description="Seconds for a whole fetch; the deadline starts after it."
    )
    fetch_connect_timeout_s: float = Field(
        default=5.0, gt=0, allow_inf_nan=False, description="Seconds for a lookup, and for a connection."
    )
    fetch_stall_s: float = Field(
        default=15.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds for a response's headers, and then for each 64 KiB of it.",
    )
    fetch_max_redirects: int = Field(default=5, ge=0, le=20, description="Redirects that are followed.")
    fetch_ports: Annotated[tuple[Port, ...], NoDecode] = Field(
        default=(80, 443), min_length=1, description="Ports that are fetched from, separated by commas."
    )
    fetch_hosts: Annotated[tuple[HostPattern, ...], NoDecode] = Field(
        default=(),
        description="The only hosts that are fetched from, separated by commas: `name`, or `*.name` for all below it; "
        "none: any.",
    )
    fetch_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(), description="Private networks that may be fetched from, CIDR, separated by commas; none: none."
    )
    fetch_ca_path: Path | None = Field(
        default=None, description="PEM file of certificate authorities that are trusted beside the usual ones."
    )

    @field_validator("fetch_ports", "fetch_hosts", "fetch_networks", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().lower() for part in value.split(",") if part.strip())
        return value

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.api_keys_path is None and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host} is reachable from other machines: set WINNOW_GATEWAY_API_KEYS_PATH as well"
            )
        return self

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

    @property
    def evidence_url(self) -> str:
        """URL of the storage of kept videos."""
        return self.evidence_storage_url or str((self.data_dir / "gateway" / "evidence").absolute())

    @property
    def evidence_path(self) -> Path | None:
        """Directory of that storage; None where it is on no disk of this machine."""
        scheme, local, path = self.evidence_url.rpartition("://")
        return Path(path) if not local or scheme in {"file", "local"} else None

    @property
    def evidence_days(self) -> dict[Verdict, int]:
        """Days for which the videos of each verdict are kept; those of other verdicts are not."""
        return {"review": self.evidence_days_review, "block": self.evidence_days_block}

    @property
    def evidence_waiting_path(self) -> Path:
        """Directory of videos on their way to that storage: on the spool's disk, so that they need not be copied."""
        return (self.spool_dir or self.data_dir / "gateway") / "evidence-waiting"
