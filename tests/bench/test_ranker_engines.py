"""(b) The engines `vllm` and `reference` at 1, 8 and 32 concurrent requests."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.bench.helper import Helper
from tests.bench.ranker_process import (
    MODELS,
    Numbers,
    all_answered,
    count_for,
    measured,
    model_named,
    ranker_process,
)
from tests.bench.ranker_requests import Asked
from tests.bench.results import Figure, Report

ENGINES = ("reference", "vllm")
CALLERS = (1, 8, 32)
ROUNDS = 3
ROUND_S = 5.0
WARM = 16


@pytest.mark.usefixtures("needs_vllm")
def test_ranker_engines(tmp_path: Path, report: Report) -> None:
    model = model_named(MODELS[0])
    asked = Asked("P2", 1, model.side)
    numbers = Numbers()
    figures: dict[str, Any] = {}
    rows = []
    with ExitStack() as stack:
        client = stack.enter_context(Helper("tests.bench.rank_client"))
        room = {"WINNOW_RANKER_MAX_WAITING": "64"}
        rankers = {
            engine: stack.enter_context(ranker_process(tmp_path / engine, engine, model, **room)) for engine in ENGINES
        }
        for callers in CALLERS:
            counts = {}
            for engine, ranker in rankers.items():
                warm = measured(client, ranker, asked, numbers.take(WARM), WARM, callers)
                counts[engine] = count_for(ROUND_S, warm["requests"], max(WARM, callers))
            rounds: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ENGINES}
            for number in range(ROUNDS):
                for engine in ENGINES if number % 2 else reversed(ENGINES):
                    count = counts[engine]
                    got = measured(client, rankers[engine], asked, numbers.take(count), count, callers)
                    rounds[engine].append(all_answered(got))
            for engine in ENGINES:
                each = {key: Figure.of([one[key] for one in rounds[engine]]) for key in rounds[engine][0]}
                figures[f"{engine}, {callers} callers"] = each
                columns = ("answers", "p50_ms", "p95_ms", "front_cpu_ms", "engine_cpu_ms")
                rows.append((engine, callers, *(each[key].show(0 if key != "answers" else 1) for key in columns)))
            ratio = [
                fast["answers"] / slow["answers"]
                for fast, slow in zip(rounds["vllm"], rounds["reference"], strict=True)
            ]
            figures[f"vllm over reference, {callers} callers"] = Figure.of(ratio)
    report.table(
        f"Engines of the ranker, {MODELS[0]}, P2 with one issue (two prompts)",
        ("engine", "callers", "answers/s", "p50 ms", "p95 ms", "front CPU ms", "engine CPU ms"),
        rows,
        note=f"Median [least, greatest] of {ROUNDS} interleaved rounds of about {ROUND_S:.0f} s. CPU is of one "
        "request; the reference engine computes in the front process. Times are of one request with four new frames.",
    )
    report.write("ranker_engines", figures)
