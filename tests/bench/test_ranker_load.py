"""(d) The ranker under load that does not wait: arrivals on a schedule, at 50, 80 and 120 % of saturation."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ranker_svc.settings import Settings
from tests.bench.helper import Helper
from tests.bench.ranker_process import (
    MODELS,
    Numbers,
    RankerProcess,
    all_answered,
    count_for,
    measured,
    model_named,
    ranker_process,
)
from tests.bench.ranker_requests import Asked
from tests.bench.results import Report

LOADS = (0.5, 0.8, 1.2)
SATURATING = 32
LOAD_S = 20.0
SATURATION_S = 8.0
LEAST_DEADLINE_S = 2.0
CALLERS = 200
"""More than can be in flight: nobody waits for a free caller."""


@pytest.mark.usefixtures("needs_vllm")
@pytest.mark.parametrize("name", MODELS)
def test_ranker_load(name: str, tmp_path: Path, report: Report) -> None:
    model = model_named(name)
    asked = Asked("P2", 1, model.side)
    numbers = Numbers()
    rows = []
    with ExitStack() as stack:
        client = stack.enter_context(Helper("tests.bench.rank_client"))

        def closed(ranker: RankerProcess, count: int, callers: int) -> dict[str, Any]:
            return all_answered(measured(client, ranker, asked, numbers.take(count), count, callers))

        def loaded(ranker: RankerProcess, load: float, title: str) -> None:
            rate = load * full["requests"]
            count = count_for(LOAD_S, rate, SATURATING)
            schedule = {"rate": rate, "seed": 4, "deadline_ms": round(1000 * deadline_s)}
            got = measured(client, ranker, asked, numbers.take(count), count, CALLERS, **schedule)
            each = figures[title] = _shares(got, count, deadline_s)
            times = (f"{each[key]:.0f}" for key in ("p50_ms", "p95_ms", "p99_ms"))
            shares = (f"{each[key]:.1%}" for key in ("good", "rejected", "late"))
            rows.append((title, count, f"{rate:.1f}", *times, f"{each['goodput']:.1f}", *shares))

        with ranker_process(tmp_path / "default", "vllm", model) as ranker:
            warm = closed(ranker, SATURATING, SATURATING)
            alone = closed(ranker, 8, 1)
            full = closed(ranker, count_for(SATURATION_S, warm["requests"], SATURATING), SATURATING)
            deadline_s = max(LEAST_DEADLINE_S, 5 * alone["p50_ms"] / 1000)
            figures: dict[str, Any] = {
                "saturation_requests": full["requests"],
                "unloaded_p50_ms": alone["p50_ms"],
                "deadline_s": deadline_s,
            }
            for load in LOADS:
                loaded(ranker, load, f"{load:.0%}")
        # What docs/ranker.md tells to set: more requests than that cannot be answered by their deadline.
        room = max(1, int(full["requests"] * deadline_s))
        if room < Settings().max_waiting:
            with ranker_process(tmp_path / "own", "vllm", model, WINNOW_RANKER_MAX_WAITING=str(room)) as ranker:
                closed(ranker, room, room)
                loaded(ranker, LOADS[-1], f"{LOADS[-1]:.0%}, MAX_WAITING {room}")
    report.table(
        f"Open-loop load, engine vllm, {name}, P2 with one issue",
        ("load", "requests", "arrivals/s", "p50 ms", "p95 ms", "p99 ms", "goodput/s", "in time", "429", "504"),
        rows,
        note=f"Poisson arrivals for about {LOAD_S:.0f} s; saturation is {full['requests']:.1f} requests/s "
        f"({SATURATING} callers, closed loop). Deadline {deadline_s:.1f} s; alone a request takes "
        f"{alone['p50_ms']:.0f} ms. Times are of the accepted requests, from the moment at which they were due.",
    )
    report.write(f"ranker_load: {name}", figures)


def _shares(got: dict[str, Any], count: int, deadline_s: float) -> dict[str, Any]:
    """Latency of the accepted, and what became of all requests."""
    assert set(got["statuses"]) <= {"200", "429", "504"}, got["statuses"]
    rows = got["raw"]["rows"]
    assert len(rows) == count
    good = sum(status == 200 and seconds <= deadline_s for _, seconds, status in rows)
    kept = ("p50_ms", "p95_ms", "p99_ms", "front_cpu_ms", "engine_cpu_ms", "client_cpu_ms", "statuses")
    return {
        **{key: got[key] for key in kept},
        "requests": count,
        "goodput": good / got["raw"]["elapsed"],
        "good": good / count,
        "rejected": sum(status == 429 for _, _, status in rows) / count,
        "late": sum(status == 504 for _, _, status in rows) / count,
    }
