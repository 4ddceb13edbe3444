"""The HTTP metrics that every service has, in the service's own registry."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# Seconds: health checks take milliseconds, a refined video on a CPU takes tens of seconds.
DURATION_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class HttpMetrics:
    """Counts and times requests by route template, so that the number of label values stays small.

    Args:
        registry: the service's registry; nothing goes to prometheus_client's default one.
        service: value of the `service` label.
    """

    def __init__(self, registry: CollectorRegistry, service: str) -> None:
        self.registry = registry
        self.service = service
        self._requests = Counter(
            "winnow_http_requests_total",
            "Requests answered; status 499 means that the caller left first.",
            ["service", "method", "route", "status"],
            registry=registry,
        )
        self._duration = Histogram(
            "winnow_http_request_duration_seconds",
            "From the request's first byte to the response's last, uploads included.",
            ["service", "method", "route"],
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self._in_flight = Gauge(
            "winnow_http_requests_in_flight", "Requests being served.", ["service"], registry=registry
        )

    def started(self) -> None:
        """A request came in."""
        self._in_flight.labels(self.service).inc()

    def finished(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """A request that `started` is over.

        Args:
            method: HTTP method; one that HTTP does not define is counted as `other`.
            route: template of the route, e.g. `/v1/decisions/{id}`.
            status: HTTP status of the response.
            seconds: how long it took.
        """
        method = method if method in METHODS else "other"
        self._in_flight.labels(self.service).dec()
        self._requests.labels(self.service, method, route, str(status)).inc()
        self._duration.labels(self.service, method, route).observe(seconds)
