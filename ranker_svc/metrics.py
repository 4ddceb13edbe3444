"""Every metric of the ranker, beside the HTTP metrics that all services share."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

STAGE_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class RankerMetrics:
    """Counters and histograms on a registry of the service's own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._stage_seconds = Histogram(
            "winnow_ranker_stage_duration_seconds",
            "Wall time of each stage of a request: decode, queue, preprocess, infer.",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self.prompts = Histogram(
            "winnow_ranker_prompts",
            "Distinct prompts of a request.",
            buckets=(1, 2, 3, 5, 9, 17, 33, 65, 129, 257, 513),
            registry=registry,
        )
        self.answer_mass = Histogram(
            "winnow_ranker_answer_mass",
            "Share of the next-token distribution on Yes and No, for each prompt; low means another answer was wanted.",
            buckets=(0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0),
            registry=registry,
        )
        self.rejected = Counter(
            "winnow_ranker_rejected_total",
            "Requests refused before any work, by reason.",
            ["reason"],
            registry=registry,
        )
        self._waiting = Gauge(
            "winnow_ranker_requests_waiting", "Requests that wait for the engine; scale on this.", registry=registry
        )
        self._admitted = Gauge(
            "winnow_ranker_requests_admitted", "Requests that were let in and are not answered.", registry=registry
        )

    def watch(self, *, waiting: Callable[[], float], admitted: Callable[[], float]) -> None:
        """Read the two gauges from these functions whenever metrics are collected."""
        self._waiting.set_function(waiting)
        self._admitted.set_function(admitted)

    def stages(self, seconds: Mapping[str, float]) -> None:
        """Observe the stages of one request, in seconds."""
        for stage, value in seconds.items():
            self._stage_seconds.labels(stage).observe(value)
