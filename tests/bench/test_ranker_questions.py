"""(c) What the second to the eighth question about the same frames costs, beside the first."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.bench.helper import Helper
from tests.bench.ranker_process import MODELS, Numbers, all_answered, measured, model_named, ranker_process
from tests.bench.ranker_requests import Asked
from tests.bench.results import Figure, Report

QUESTIONS = range(1, 9)
ROUNDS = 3
REQUESTS = {MODELS[0]: 16, MODELS[1]: 5}


@pytest.mark.usefixtures("needs_vllm")
@pytest.mark.parametrize("name", MODELS)
def test_ranker_questions(name: str, tmp_path: Path, report: Report) -> None:
    model = model_named(name)
    numbers = Numbers()
    count = REQUESTS[name]
    rounds: dict[int, list[dict[str, Any]]] = {questions: [] for questions in QUESTIONS}
    with ExitStack() as stack:
        client = stack.enter_context(Helper("tests.bench.rank_client"))
        ranker = stack.enter_context(ranker_process(tmp_path, "vllm", model))
        for number in range(ROUNDS + 1):
            for questions in QUESTIONS if number % 2 else reversed(QUESTIONS):
                asked = Asked("P3", questions, model.side)
                # P3 asks one question for each issue.
                assert len(asked.prompts()) == questions
                got = all_answered(measured(client, ranker, asked, numbers.take(count), count, callers=1))
                if number:  # the first round warms
                    rounds[questions].append(got)
    figures: dict[str, Any] = {}
    rows = []
    for questions, runs in rounds.items():
        each = {key: Figure.of([run[key] for run in runs]) for key in ("p50_ms", "front_cpu_ms", "engine_cpu_ms")}
        if questions > 1:
            for key, cost in (("p50_ms", "latency_of_one_more"), ("engine_cpu_ms", "engine_cpu_of_one_more")):
                each[cost] = Figure.of(
                    [
                        (run[key] / first[key] - 1.0) / (questions - 1)
                        for run, first in zip(runs, rounds[1], strict=True)
                    ]
                )
        figures[f"{questions} questions"] = each
        more = [each[key].show(2) for key in ("latency_of_one_more", "engine_cpu_of_one_more") if key in each]
        rows.append(
            (
                questions,
                *(each[key].show(1) for key in ("p50_ms", "front_cpu_ms", "engine_cpu_ms")),
                *(more or ("", "")),
            )
        )
    report.table(
        f"One to eight questions about the same frames, engine vllm, {name}",
        ("questions", "p50 ms", "front CPU ms", "engine CPU ms", "latency of one more", "engine CPU of one more"),
        rows,
        note=f"One caller, {count} requests with new frames in each of {ROUNDS} rounds. The last two columns: what "
        "each further question adds, as a share of a request with one question.",
    )
    report.write(f"ranker_questions: {name}", figures)
