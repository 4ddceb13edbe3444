"""Every metric of the ranker, beside the HTTP metrics that all services share."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.contracts import IssueRank, ModelIdentity
from services.telemetry.labels import LabelBudget

# Seconds: a small model on a GPU answers in milliseconds, a CPU takes tens of seconds.
STAGE_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# Action thresholds of policies lie in the upper half; both ends are finer, since a well calibrated model lives there.
PROBABILITY_BUCKETS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


class _ModelInfo(Collector):
    """The model that answers, read at every scrape: of servers that were down at the start it is known later."""

    def __init__(self) -> None:
        self.identity: Callable[[], ModelIdentity] | None = None

    def collect(self) -> Iterator[Metric]:
        """One series while an engine runs."""
        info = GaugeMetricFamily(
            "winnow_ranker_model_info",
            "1; the model that answers. The fingerprint begins with `unknown-` until the engine openai met a server.",
            labels=["model", "fingerprint", "engine"],
        )
        if self.identity is not None:
            model = self.identity()
            info.add_metric([model.name, model.fingerprint, model.engine], 1.0)
        yield info


class RankerMetrics:
    """Counters and histograms on a registry of the service's own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._stage_seconds = Histogram(
            "winnow_ranker_stage_duration_seconds",
            "Wall time of each stage of a request that was answered.",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self.prompts = Histogram(
            "winnow_ranker_prompts",
            "Distinct prompts of a request.",
            # The overall question and one more for each issue: 256 issues at most.
            buckets=(1, 2, 3, 5, 9, 17, 33, 65, 129, 257, 513),
            registry=registry,
        )
        self.answer_mass = Histogram(
            "winnow_ranker_answer_mass",
            "Share of the next-token distribution on Yes and No, for each prompt; low means another answer was wanted.",
            buckets=(0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0),
            registry=registry,
        )
        self._probability = Histogram(
            "winnow_ranker_probability",
            "Calibrated probability that an issue is violated, for each issue that was asked about.",
            ["issue"],
            buckets=PROBABILITY_BUCKETS,
            registry=registry,
        )
        self._uncalibrated = Counter(
            "winnow_ranker_uncalibrated_total",
            "Issues judged without a calibrator: their probability is the bare score.",
            ["issue"],
            registry=registry,
        )
        self._waiting = Gauge(
            "winnow_ranker_requests_waiting",
            "Requests that wait for the engine, of the vllm engine their prompts; scale on this.",
            registry=registry,
        )
        self._model = _ModelInfo()
        registry.register(self._model)
        self._up = Gauge(
            "winnow_ranker_engine_up",
            "1 while the engine runs, 0 before it has started and once it has died.",
            registry=registry,
        )
        self._label = LabelBudget()

    @contextmanager
    def watching(
        self,
        *,
        waiting: Callable[[], float],
        model: Callable[[], ModelIdentity],
        collector: Collector | None = None,
    ) -> Iterator[None]:
        """Show the engine that runs for the block: its model, how many wait, and the metrics of its own."""
        self._waiting.set_function(waiting)
        self._model.identity = model
        self._up.set(1)
        if collector is not None:
            self._registry.register(collector)
        try:
            yield
        finally:
            self._up.set(0)
            self._model.identity = None
            if collector is not None:
                self._registry.unregister(collector)

    def died(self) -> None:
        """Show that the engine has died."""
        self._up.set(0)

    def judged(self, issues: Iterable[IssueRank]) -> None:
        """Observe the judgement of one request."""
        for issue in issues:
            label = self._label(issue.id)
            self._probability.labels(label).observe(issue.probability)
            if issue.calibrator is None:
                self._uncalibrated.labels(label).inc()

    def stages(self, seconds: Mapping[str, float]) -> None:
        """Observe the stages of one request, in seconds."""
        for stage, value in seconds.items():
            self._stage_seconds.labels(stage).observe(value)
