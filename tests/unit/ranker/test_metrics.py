"""The ranker's metrics of its engine: shown while it runs, with those of the engine's own."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ranker_svc.metrics import RankerMetrics
from services.contracts import ModelIdentity

MODEL = ModelIdentity(name="m", fingerprint="f", engine="e")


class Own(Collector):
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("engine:own", "Of the engine.", value=7)


def test_the_engine_is_up_with_its_own_metrics_until_it_dies_or_is_closed() -> None:
    registry = CollectorRegistry()
    metrics = RankerMetrics(registry)

    def value(name: str) -> float | None:
        return registry.get_sample_value(name)

    assert (value("winnow_ranker_engine_up"), value("engine:own")) == (0.0, None)
    for _ in range(2):  # an app may be started again
        with metrics.watching(waiting=lambda: 3, model=lambda: MODEL, collector=Own()):
            assert value("winnow_ranker_requests_waiting") == 3.0
            assert (value("winnow_ranker_engine_up"), value("engine:own")) == (1.0, 7.0)
            metrics.died()
            assert (value("winnow_ranker_engine_up"), value("engine:own")) == (0.0, 7.0)
        assert (value("winnow_ranker_engine_up"), value("engine:own")) == (0.0, None)


def test_the_model_is_the_one_of_now() -> None:
    registry = CollectorRegistry()
    metrics = RankerMetrics(registry)
    known = MODEL.model_copy(update={"fingerprint": "unknown"})

    def shown() -> list[str]:
        found = [each for metric in registry.collect() for each in metric.samples]
        return [each.labels["fingerprint"] for each in found if each.name == "winnow_ranker_model_info"]

    assert shown() == []
    with metrics.watching(waiting=lambda: 0, model=lambda: known):
        assert shown() == ["unknown"]
        known = MODEL
        assert shown() == ["f"]
    assert shown() == []
