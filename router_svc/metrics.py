"""All metrics of the router, beside those that all services share."""

from collections import Counter as Counts
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from time import perf_counter
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.clients.replicas import Circuit
from services.contracts import BankStatus, IssueRisk
from services.contracts.route import RankMissing
from services.telemetry.labels import LabelBudget
from services.telemetry.spans import span

Stage = Literal["decode", "embed", "search", "forward"]
Queue = Literal["decode", "embed"]
DeathCause = Literal["crash", "timeout", "cpu", "memory", "abandoned", "pool"]

# Seconds: a search takes milliseconds, decoding a long video and the ranker on a CPU tens of seconds.
_STAGE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# Seconds: most callers do not wait; who waits longer than a deadline is gone.
_WAIT_BUCKETS_S = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Seconds: two are promised.
_SEARCHABLE_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0, 30.0)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# A risk is a rank in [0, 1]: thresholds lie between 0.2 and 0.95, most of them above 0.6.
_RISK_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0)
_CIRCUITS: tuple[Circuit, ...] = ("closed", "open", "trial")


class RouterMetrics:
    """Metrics of the router, in the service's own registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._label = LabelBudget()
        self._revision: str | None = None
        self._seeded: tuple[str, ...] = ()
        self._stages = Histogram(
            "winnow_router_stage_duration_seconds",
            "Time of a stage that succeeded, waiting included.",
            ["stage"],
            buckets=_STAGE_BUCKETS_S,
            registry=registry,
        )
        self._queue_wait = Histogram(
            "winnow_router_queue_wait_seconds",
            "Time that a video waited for a decoder process or for the encoder.",
            ["stage"],
            buckets=_WAIT_BUCKETS_S,
            registry=registry,
        )
        self._queue_depth = Gauge(
            "winnow_router_queue_depth", "Videos that wait for a stage.", ["stage"], registry=registry
        )
        self._videos = Counter(
            "winnow_router_videos_total",
            "Videos routed, by whether any issue escalated.",
            ["escalated"],
            registry=registry,
        )
        for value in ("true", "false"):
            # From the start: a pass rate of 0 is a rate, and an alert, where an absent one is nothing.
            self._videos.labels(value)
        self._risk = Histogram(
            "winnow_router_risk",
            "Risk of every issue of every video.",
            ["issue"],
            buckets=_RISK_BUCKETS,
            registry=registry,
        )
        self._escalations = Counter(
            "winnow_router_escalations_total", "Videos escalated for an issue.", ["issue"], registry=registry
        )
        self._rank_missing = Counter(
            "winnow_router_rank_missing_total",
            "Escalated videos without the ranker's answer.",
            ["reason"],
            registry=registry,
        )
        self.decode_failures = Counter(
            "winnow_router_decode_failures_total",
            "Videos that were not decoded, by error code.",
            ["code"],
            registry=registry,
        )
        self._decoder_deaths = Counter(
            "winnow_router_decoder_deaths_total",
            "Decoder processes that died or were killed; each is replaced.",
            ["cause"],
            registry=registry,
        )
        self.batch_frames = Histogram(
            "winnow_router_embed_batch_frames",
            "Frames in one pass through the encoder.",
            buckets=_BATCH_BUCKETS,
            registry=registry,
        )
        self._bank_seeds = Gauge(
            "winnow_router_bank_seeds", "Searchable seeds, negatives included.", ["issue"], registry=registry
        )
        self._bank_changes = Counter(
            "winnow_router_bank_revision_changes_total",
            "Changes of the searchable seeds that this router noticed since it started.",
            registry=registry,
        )
        self._taken_in = Histogram(
            "winnow_router_seed_searchable_seconds",
            "From the record of a seed, or its change, until this router searched for it.",
            buckets=_SEARCHABLE_BUCKETS_S,
            registry=registry,
        )
        self._in_step = Gauge(
            "winnow_router_bank_in_step_timestamp_seconds",
            "When the bank was last in step with the records of seeds; Unix time.",
            registry=registry,
        )
        self._quarantines = Counter(
            "winnow_router_seed_quarantines_total", "Seeds that this router quarantined.", ["issue"], registry=registry
        )
        self._model = Gauge("winnow_router_model_info", "1; the encoder that embeds.", ["encoder"], registry=registry)
        self._circuits = Gauge(
            "winnow_router_ranker_circuit",
            "1 at the state of the circuit breaker of a ranker replica, 0 at the others.",
            ["replica", "state"],
            registry=registry,
        )
        self._spool_bytes = Gauge("winnow_router_spool_bytes", "Bytes of the videos in the spool.", registry=registry)
        self._spool_free = Gauge(
            "winnow_router_spool_free_bytes", "Free bytes of the disk that holds the spool.", registry=registry
        )

    @contextmanager
    def stage(self, stage: Stage, timings: dict[str, float]) -> Iterator[None]:
        """Times a stage that succeeds, into the histogram and into `timings` (seconds), and spans it."""
        start = perf_counter()
        with span(stage):
            yield
        timings[stage] = perf_counter() - start
        self._stages.labels(stage).observe(timings[stage])

    def queued(self, queue: Queue, *, depth: int) -> None:
        """Shows how many wait."""
        self._queue_depth.labels(queue).set(depth)

    def waited(self, queue: Queue, seconds: float) -> None:
        """Counts one that waits no longer."""
        self._queue_wait.labels(queue).observe(seconds)

    def routed(self, issues: Sequence[IssueRisk], missing: RankMissing | None) -> None:
        """Counts a video: its risks, what escalated, and why the ranker has no say where it should have one."""
        escalated = False
        for issue in issues:
            label = self._label(issue.id)
            self._risk.labels(label).observe(issue.risk)
            if issue.escalated:
                escalated = True
                self._escalations.labels(label).inc()
        self._videos.labels("true" if escalated else "false").inc()
        if escalated and missing is not None:
            self._rank_missing.labels(missing).inc()

    def decoder_died(self, cause: DeathCause) -> None:
        """Counts the death of a decoder process."""
        self._decoder_deaths.labels(cause).inc()

    def show_bank(self, status: BankStatus) -> None:
        """Sets the seeds of each issue, and counts a change of the revision."""
        counts: Counts[str] = Counts()
        # An issue that lost its last seed is told so.
        for issue in dict.fromkeys((*status.seeds, *self._seeded)):
            counts[self._label(issue)] += status.seeds.get(issue, 0)
        for label, seeds in counts.items():
            self._bank_seeds.labels(label).set(seeds)
        self._seeded = tuple(status.seeds)
        if self._revision not in (None, status.revision):
            self._bank_changes.inc()
        self._revision = status.revision

    def seeds_taken_in(self, now: datetime, since: Sequence[datetime]) -> None:
        """Observes seeds that are searchable from `now` on and were recorded `since`; clocks may differ a little."""
        for each in since:
            self._taken_in.observe(max(0.0, (now - each).total_seconds()))

    def bank_in_step(self) -> None:
        """The bank holds what the records held a moment ago."""
        self._in_step.set_to_current_time()

    def quarantined(self, issue: str) -> None:
        """Counts a seed that was quarantined."""
        self._quarantines.labels(self._label(issue)).inc()

    def serves(self, encoder: str, *, instead_of: str | None = None) -> None:
        """Shows the encoder that serves."""
        if instead_of is not None:
            self._model.remove(instead_of)
        self._model.labels(encoder).set(1)

    def watch(
        self,
        *,
        spool_bytes: Callable[[], float],
        free_bytes: Callable[[], float],
        circuits: Callable[[], Mapping[str, Circuit]],
    ) -> None:
        """Reads what is shown whenever metrics are collected; the functions may block.

        Args:
            spool_bytes: bytes in the spool.
            free_bytes: of the spool's disk.
            circuits: state of each replica of the ranker, by name; the names never change.
        """
        self._spool_bytes.set_function(spool_bytes)
        self._spool_free.set_function(free_bytes)
        for name in circuits():
            for state in _CIRCUITS:
                self._circuits.labels(name, state).set_function(partial(_is_in, circuits, name, state))


def _is_in(circuits: Callable[[], Mapping[str, Circuit]], name: str, state: Circuit) -> float:
    return float(circuits()[name] == state)
