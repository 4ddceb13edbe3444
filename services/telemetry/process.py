"""What every service says of itself: version, readiness, places, and the process that it runs in."""

from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)

from services.telemetry.cpu import TreeCpuCollector


class Places(Protocol):
    """What is needed of services.web.Admission."""

    @property
    def limit(self) -> int:
        """Most requests at once."""
        ...

    @property
    def taken(self) -> int:
        """Requests being worked on."""
        ...


class ServiceMetrics:
    """Metrics that do not depend on what the service does, beside those of its HTTP server.

    Args:
        registry: the service's registry.
        service: value of the `service` label.
    """

    def __init__(self, registry: CollectorRegistry, service: str) -> None:
        self._service = service
        self._build = Gauge("winnow_build_info", "1; the version runs.", ["service", "version"], registry=registry)
        self._ready = Gauge(
            "winnow_ready",
            "1 where the service was ready when it was scraped, otherwise 0.",
            ["service"],
            registry=registry,
        )
        self._places = Gauge(
            "winnow_admission_places", "Requests that the service works on at once.", ["service"], registry=registry
        )
        self._taken = Gauge(
            "winnow_admission_places_taken",
            "Requests being worked on, their uploads included.",
            ["service"],
            registry=registry,
        )
        self._rejected = Counter(
            "winnow_admission_rejected_total",
            "Requests refused before any work.",
            ["service", "reason"],
            registry=registry,
        )
        registry.register(TreeCpuCollector(service))
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    def describe(self, *, version: str, places: Places) -> None:
        """Show which version runs, and read the places whenever metrics are collected."""
        self._build.labels(self._service, version).set(1)
        self._places.labels(self._service).set_function(lambda: places.limit)
        self._taken.labels(self._service).set_function(lambda: places.taken)

    def ready(self, ready: bool) -> None:
        """Show whether the service is ready."""
        self._ready.labels(self._service).set(1 if ready else 0)

    def rejected(self, reason: str) -> None:
        """Count a request that was refused a place: `overloaded`, `draining` or `failed`."""
        self._rejected.labels(self._service, reason).inc()
