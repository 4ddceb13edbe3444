"""What vLLM says about itself: its metrics for `/metrics`, and how many prompts wait in its scheduler."""

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import REGISTRY, Metric
from prometheus_client.registry import Collector

PREFIX = "vllm:"


class VllmCollector(Collector):
    """vLLM's metrics, which it keeps on the process's default registry."""

    def collect(self) -> Iterator[Metric]:
        """Every metric whose name begins with `vllm:`."""
        return (metric for metric in REGISTRY.collect() if metric.name.startswith(PREFIX))


class SchedulerWatch:
    """Prompts that wait in vLLM's scheduler, as of its last step."""

    def __init__(self) -> None:
        self._waiting: dict[int, int] = {}

    @property
    def waiting(self) -> int:
        """Prompts in the queues of all engine cores."""
        return sum(self._waiting.values())

    def saw(self, engine: int, stats: Any) -> None:
        """Take note of a step of an engine core.

        Args:
            engine: its index.
            stats: vLLM's SchedulerStats.
        """
        self._waiting[engine] = stats.num_waiting_reqs + stats.num_skipped_waiting_reqs

    def factory(self) -> Callable[..., Any]:
        """What makes vLLM's stat logger for each engine core; it imports vLLM."""
        from vllm.v1.metrics.loggers import StatLoggerBase

        watch = self

        class WaitingLogger(StatLoggerBase):  # type: ignore[misc]
            def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
                self._index = engine_index

            def record(self, scheduler_stats: Any, *_: Any, **__: Any) -> None:
                if scheduler_stats is not None:
                    watch.saw(self._index, scheduler_stats)

            def log_engine_initialized(self) -> None:
                """Nothing to say."""

        return WaitingLogger
