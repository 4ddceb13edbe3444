"""All metrics of the router."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

Stage = Literal["decode", "embed", "search", "forward"]

_STAGE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class RouterMetrics:
    """Metrics of the router, in the service's own registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._stages = Histogram(
            "winnow_router_stage_duration_seconds",
            "Time of a stage that succeeded, waiting included.",
            ["stage"],
            buckets=_STAGE_BUCKETS_S,
            registry=registry,
        )
        self.videos = Counter(
            "winnow_router_videos_total",
            "Videos routed, by whether any issue escalated.",
            ["escalated"],
            registry=registry,
        )
        self.escalations = Counter(
            "winnow_router_escalations_total", "Videos escalated for an issue.", ["issue"], registry=registry
        )
        self.rank_missing = Counter(
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
        self.batch_frames = Histogram(
            "winnow_router_embed_batch_frames",
            "Frames in one pass through the encoder.",
            buckets=_BATCH_BUCKETS,
            registry=registry,
        )
        self.queue_depth = Gauge(
            "winnow_router_queue_depth", "Videos that wait for a stage.", ["stage"], registry=registry
        )
        self._bank_seeds = Gauge(
            "winnow_router_bank_seeds", "Searchable seeds, negatives included.", ["issue"], registry=registry
        )

    @contextmanager
    def stage(self, stage: Stage, timings: dict[str, float]) -> Iterator[None]:
        """Times a stage that succeeds, into the histogram and into `timings` (seconds)."""
        start = perf_counter()
        yield
        timings[stage] = perf_counter() - start
        self._stages.labels(stage).observe(timings[stage])

    def show_bank(self, seeds: Mapping[str, int]) -> None:
        """Sets the seeds of each issue."""
        for issue, count in seeds.items():
            self._bank_seeds.labels(issue).set(count)
