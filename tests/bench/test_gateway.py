"""(b) What the gateway adds to the latency of the router asked directly, and how long a hit of the cache takes."""

import json
import statistics
from pathlib import Path
from typing import Any

from tests.bench.cascade import bundled_clips, cascade, decision_json, entry, route_json
from tests.bench.helper import Helper
from tests.bench.results import Report, percentile

SEQUENTIAL = 200
CONCURRENT = 400
CALLERS = 4
WARM = 32


def test_gateway(tmp_path: Path, report: Report) -> None:
    services = ("router", "gateway")
    figures: dict[str, Any] = {}
    rows = []
    with Helper("tests.bench.load_client") as client:
        with cascade(tmp_path / "plain", services, WINNOW_GATEWAY_CACHE_TTL_S="0") as running:
            clips = bundled_clips()
            load = _alternating(clips, running.router, running.gateway)
            client.ask(count=WARM, callers=1, **load)
            for name, count, callers in (("sequential", SEQUENTIAL, 1), (f"{CALLERS} callers", CONCURRENT, CALLERS)):
                got = client.ask(count=2 * count, callers=callers, **load)
                assert got["statuses"] == {"200": 2 * count}
                _same_decisions(got["answers"])
                figures[name] = _compared(got)
                rows.append((name, *_shown(figures[name], count)))
        # The cache is passed by while no ranker is known.
        with cascade(tmp_path / "cached") as running:
            harmless = next(clip for clip in clips if "other" in clip.name)
            load = {"entries": [entry(harmless, decision_json())], "urls": [_decisions(running.gateway)]}
            client.ask(count=1, callers=1, **load)
            hits = client.ask(count=SEQUENTIAL, callers=1, **load)
            assert hits["statuses"] == {"200": SEQUENTIAL}
            assert hits["answers"]["0"]["route"] == "cached"
            figures["cache hit"] = {"n": SEQUENTIAL, **_quantiles(hits["seconds"])}
    report.table(
        "Latency that the gateway adds, ms",
        ("requests", "n each", "router p50", "gateway p50", "added p50", "router p99", "gateway p99", "added p99"),
        rows,
        note=f"The same {len(clips)} clips to both in turn, cache off, no ranker. A hit of the cache takes "
        f"{figures['cache hit']['p50_ms']:.1f} ms (p50), {figures['cache hit']['p99_ms']:.1f} ms (p99) of "
        f"{SEQUENTIAL} requests.",
    )
    report.write("gateway", figures)


def _decisions(gateway: str) -> str:
    return f"{gateway}/v1/decisions"


def _alternating(clips: list[Path], router: str, gateway: str) -> dict[str, Any]:
    """Every clip to the router and to the gateway; the order of the two changes from clip to clip."""
    entries, urls = [], []
    for number, clip in enumerate(clips):
        pair = [
            (entry(clip, route_json(clip)), f"{router}/v1/route"),
            (entry(clip, decision_json()), _decisions(gateway)),
        ]
        for one, url in pair if number % 2 else reversed(pair):
            entries.append(one)
            urls.append(url)
    return {"entries": entries, "urls": urls}


def _same_decisions(answers: dict[str, Any]) -> None:
    """The gateway's decision rests on the risks that the router gives when it is asked directly."""
    for pair in range(len(answers) // 2):
        both = [answers[str(2 * pair)], answers[str(2 * pair + 1)]]
        routed, decided = both if "verdict" in both[1] else reversed(both)
        risks = {issue["id"]: round(issue["risk"], 5) for issue in routed["issues"]}
        assert risks == {issue["id"]: round(issue["risk"], 5) for issue in decided["issues"]}, json.dumps(decided)


def _compared(got: dict[str, Any]) -> dict[str, Any]:
    """Entries 0 and 1, 3 and 2, 4 and 5, ... are gateway and router of one clip; see `_alternating`."""
    router, gateway = [], []
    for index, seconds in zip(got["entries"], got["seconds"], strict=True):
        first_of_pair, number = index % 2 == 0, index // 2
        (router if first_of_pair == bool(number % 2) else gateway).append(seconds)
    direct, through = _quantiles(router), _quantiles(gateway)
    added = {f"added_{name}": through[name] - direct[name] for name in direct}
    return {"n": len(gateway), "router": direct, "gateway": through, **added}


def _quantiles(seconds: list[float]) -> dict[str, float]:
    return {"p50_ms": 1000 * statistics.median(seconds), "p99_ms": 1000 * percentile(seconds, 0.99)}


def _shown(figures: dict[str, Any], count: int) -> list[str]:
    numbers = [
        figure
        for name in ("p50_ms", "p99_ms")
        for figure in (figures["router"][name], figures["gateway"][name], figures[f"added_{name}"])
    ]
    return [str(count), *(f"{number:.1f}" for number in numbers)]
