"""Names with colons, as vLLM has them, in every text format that a Prometheus asks for."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from services.telemetry.exposition import exposition_for

PROMETHEUS_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,*/*;q=0.1"
PROMETHEUS_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3"


@pytest.mark.parametrize(
    ("accept", "is_openmetrics"),
    [
        ("", False),
        ("text/plain;version=0.0.4", False),
        ("text/plain;version=1.0.0;escaping=underscores", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text;version=1.0.0;escaping=underscores", True),
        (PROMETHEUS_2, True),
        (PROMETHEUS_3, True),
    ],
)
def test_samples_have_the_names_of_their_families(accept: str, is_openmetrics: bool) -> None:
    registry = CollectorRegistry()
    Gauge("vllm:waiting", "W.", ["engine"], registry=registry).labels("0").set(3)
    Counter("vllm:hits", "H.", registry=registry).inc(2)
    Histogram("vllm:seconds", "S.", buckets=(1.0,), registry=registry).observe(0.5)
    encode, content_type = exposition_for(accept)
    assert content_type.startswith("application/openmetrics-text" if is_openmetrics else "text/plain")
    text = encode(registry).decode()
    found = {family.name: family for family in (openmetrics if is_openmetrics else plain)(text)}
    assert {sample.value for sample in found["vllm:waiting"].samples} == {3.0}
    assert {sample.value for sample in found["vllm:hits"].samples if sample.name == "vllm:hits_total"} == {2.0}
    assert {sample.name for sample in found["vllm:seconds"].samples} >= {"vllm:seconds_bucket", "vllm:seconds_sum"}
    assert {name for name in found if not name.startswith("vllm:")} == set()
