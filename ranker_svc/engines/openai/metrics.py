"""Metrics of the pool of model servers, read whenever they are collected."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ranker_svc.engines.openai.meeting import Member
from services.clients.replicas import Replica


class PoolCollector(Collector):
    """One series for each server that the settings name, by host, port and path.

    Args:
        replicas: the servers; they never change.
    """

    def __init__(self, replicas: Sequence[Replica[Member]]) -> None:
        self._replicas = replicas

    def collect(self) -> Iterator[Metric]:
        """The values now."""
        up = GaugeMetricFamily(
            "winnow_ranker_replica_up", "1 where the model server gets prompts, else 0.", labels=["replica"]
        )
        in_flight = GaugeMetricFamily(
            "winnow_ranker_replica_in_flight", "Prompts that the model server is answering.", labels=["replica"]
        )
        asked = CounterMetricFamily(
            "winnow_ranker_replica_prompts",
            "Prompts sent to the model server, retries included.",
            labels=["replica"],
        )
        retries = CounterMetricFamily(
            "winnow_ranker_replica_retries",
            "Prompts that the model server failed or refused as overloaded, and another one was asked.",
            labels=["replica"],
        )
        for each in self._replicas:
            up.add_metric([each.name], float(each.client.reason is None))
            in_flight.add_metric([each.name], float(each.in_flight))
            asked.add_metric([each.name], float(each.served))
            retries.add_metric([each.name], float(each.client.retries))
        yield from (up, in_flight, asked, retries)
