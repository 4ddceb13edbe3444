"""Whether spans are exported, by the variables that OpenTelemetry defines, and the exporter's life."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Literal

import anyio
from anyio import to_thread
from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.telemetry.spans import Tracer

if TYPE_CHECKING:
    from services.telemetry.otel import OtelTracer

logger = logging.getLogger(__name__)

Sampler = Literal[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]
CLOSE_S = 3.0
"""Most seconds that the last spans may hold up the end of a service."""


class TracingError(RuntimeError):
    """Traces are asked for and cannot be had; the message says what to do."""


class TracingSettings(BaseSettings):
    """The variables of the OpenTelemetry specification that Winnow heeds, the same for every service.

    The SDK reads the remaining ones (`OTEL_BSP_*`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES`) by itself.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, populate_by_name=True)

    endpoint: str | None = Field(
        default=None,
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="Base URL of an OTLP/HTTP collector, e.g. `http://collector:4318`; unset: no traces.",
    )
    traces_endpoint: str | None = Field(
        default=None,
        validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        description="Whole URL for traces, instead of the base URL with `/v1/traces`.",
    )
    disabled: bool = Field(default=False, validation_alias="OTEL_SDK_DISABLED", description="`true`: no traces.")
    exporter: Literal["otlp", "none"] = Field(
        default="otlp", validation_alias="OTEL_TRACES_EXPORTER", description="`none`: no traces."
    )
    protocol: Literal["http/protobuf"] = Field(
        default="http/protobuf",
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"),
        description="The one protocol that is spoken.",
    )
    timeout_s: float = Field(
        default=3.0,
        gt=0,
        allow_inf_nan=False,
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"),
        description="Seconds for one export, retries included (the Python SDK counts seconds here).",
    )
    sampler: Sampler = Field(
        default="parentbased_always_on",
        validation_alias="OTEL_TRACES_SAMPLER",
        description="Which traces are recorded. The `parentbased_` ones heed the caller's sampling flag.",
    )
    sampler_arg: float = Field(
        default=1.0,
        ge=0,
        le=1,
        validation_alias="OTEL_TRACES_SAMPLER_ARG",
        description="Share of traces recorded by the two `traceidratio` samplers.",
    )
    service_name: str | None = Field(
        default=None,
        validation_alias="OTEL_SERVICE_NAME",
        description="Name of the service in traces; `winnow-gateway`, `winnow-router`, `winnow-ranker` if unset.",
    )

    @property
    def url(self) -> str | None:
        """Where spans are posted; None where traces are off."""
        if self.disabled or self.exporter == "none":
            return None
        if self.traces_endpoint is not None:
            return self.traces_endpoint
        return None if self.endpoint is None else f"{self.endpoint.rstrip('/')}/v1/traces"

    @classmethod
    def read(cls) -> "TracingSettings":
        """From the environment.

        Raises:
            TracingError: a variable has a value that cannot be used.
        """
        try:
            return cls()
        except ValidationError as error:
            problems = [f"{_names(str(each['loc'][0]))}: {each['msg']}" for each in error.errors(include_input=False)]
            raise TracingError("; ".join(problems)) from error


def _names(variable: str) -> str:
    """All variables that give the value that this one gives."""
    for field in TracingSettings.model_fields.values():
        alias = field.validation_alias
        if isinstance(alias, AliasChoices) and variable in alias.choices:
            return " or ".join(map(str, alias.choices))
    return variable


class Tracing:
    """Owns the tracer of one service while its lifespan runs.

    Args:
        settings: where spans go.
        service: `gateway`, `router` or `ranker`.
        version: of Winnow.
    """

    def __init__(self, settings: TracingSettings, *, service: str, version: str) -> None:
        self._settings = settings
        self._service = service
        self._version = version
        self.tracer: Tracer | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make spans inside the block, if there is somewhere to send them.

        Raises:
            TracingError: an endpoint is set, and OpenTelemetry is not installed.
        """
        url = self._settings.url
        if url is None:
            yield
            return
        tracer = await to_thread.run_sync(self._make, url)
        logger.info("traces are exported")
        self.tracer = tracer
        try:
            yield
        finally:
            self.tracer = None
            await _close(tracer)

    def _make(self, url: str) -> "OtelTracer":
        try:
            # Here, so that a service without traces neither needs nor loads it.
            from services.telemetry.otel import OtelTracer
        except ImportError as error:
            raise TracingError(
                "an OTLP endpoint is set, and OpenTelemetry is not installed: "
                "install `winnow-moderation[otel]`, or unset OTEL_EXPORTER_OTLP_ENDPOINT"
            ) from error
        return OtelTracer(
            url,
            service_name=self._settings.service_name or f"winnow-{self._service}",
            version=self._version,
            timeout_s=self._settings.timeout_s,
        )


async def _close(tracer: "OtelTracer") -> None:
    """Send what is left. A thread of its own, since one that hangs in a pool would keep the process from ending."""
    loop, closed = asyncio.get_running_loop(), asyncio.Event()

    def close() -> None:
        tracer.close()
        # Where the collector let go too late, the loop is closed.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(closed.set)

    threading.Thread(target=close, name="close-traces", daemon=True).start()
    with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_S):
        await closed.wait()
    if not closed.is_set():
        logger.warning("the last spans were given up: the collector does not answer")
