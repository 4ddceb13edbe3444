"""(a) How many answers a second the ranker gives through HTTP, of those that vLLM's offline `LLM` gives bare."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from services.prompts import plan
from tests.bench.helper import Helper
from tests.bench.ranker_process import (
    MODELS,
    Numbers,
    all_answered,
    count_for,
    cpu_of,
    measured,
    model_named,
    ranker_process,
    vllm_environment,
)
from tests.bench.ranker_requests import Asked
from tests.bench.results import Figure, Report

AIM = 0.90
CALLERS = {MODELS[0]: 64, MODELS[1]: 16}
"""Enough that prompts wait for the engine while others are prepared."""
ROUNDS = {MODELS[0]: 4, MODELS[1]: 3}
ROUND_S = 6.0
MOST_APART = 0.02


@pytest.mark.usefixtures("needs_vllm")
@pytest.mark.parametrize("name", MODELS)
def test_ranker_efficiency(name: str, tmp_path: Path, report: Report) -> None:
    model = model_named(name)
    numbers = Numbers()
    callers = CALLERS[name]
    figures: dict[str, Any] = {"aim": AIM, "callers": callers}
    rows = []
    with ExitStack() as stack:
        offline = stack.enter_context(Helper("tests.bench.offline_llm", vllm_environment()))
        offline.ask(do="start", settings=model.settings("vllm"), classify=False)
        client = stack.enter_context(Helper("tests.bench.rank_client"))
        room = {"WINNOW_RANKER_MAX_WAITING": str(2 * callers)}
        ranker = stack.enter_context(ranker_process(tmp_path, "vllm", model, **room))
        for issues in (1, 4):
            asked = Asked("P2", issues, model.side)
            _offline(offline, asked, numbers.take(callers), callers)
            warm = measured(client, ranker, asked, numbers.take(callers), callers, callers)
            count = count_for(ROUND_S, warm["requests"], callers + callers // 2)
            rounds = []
            for number in range(ROUNDS[name]):
                # Both sides see the same frames; neither has seen them before.
                first = numbers.take(count)
                if number % 2:
                    bare = _offline(offline, asked, first, count)
                    served = _served(measured(client, ranker, asked, first, count, callers))
                else:
                    served = _served(measured(client, ranker, asked, first, count, callers))
                    bare = _offline(offline, asked, first, count)
                _same_answers(served.pop("p_yes"), bare.pop("p_yes"), asked)
                rounds.append({**served, **bare, "ratio": served["answers"] / bare["bare_answers"]})
            each = {key: Figure.of([one[key] for one in rounds]) for key in rounds[0]}
            figures[f"P2, {issues} issues"] = {**each, "requests_a_round": count}
            rows.append(
                (
                    f"P2, {issues} issue{'s' if issues > 1 else ''}, {len(asked.prompts())} prompts",
                    each["answers"].show(1),
                    each["bare_answers"].show(1),
                    each["ratio"].show(3),
                    *(
                        each[key].show(1)
                        for key in (
                            "client_cpu_ms",
                            "front_cpu_ms",
                            "engine_cpu_ms",
                            "bare_front_cpu_ms",
                            "bare_engine_cpu_ms",
                        )
                    ),
                )
            )
    report.table(
        f"Ranker efficiency: answers/s through HTTP over answers/s of LLM.generate, {name}",
        (
            "asked",
            "HTTP/s",
            "LLM/s",
            f"ratio, aim {AIM}",
            "client ms",
            "front ms",
            "engine ms",
            "LLM front ms",
            "LLM engine ms",
        ),
        rows,
        note=f"Median [least, greatest] of {ROUNDS[name]} interleaved rounds, {callers} callers, "
        "four new frames in every request. ms: CPU of one request; engine: vLLM's processes, front: the one before.",
    )
    report.write(f"ranker_efficiency: {name}", figures)


def _served(got: dict[str, Any]) -> dict[str, Any]:
    return {**all_answered(got), "p_yes": got["raw"]["p_yes"]}


def _offline(offline: Helper, asked: Asked, first: int, count: int) -> dict[str, Any]:
    before = cpu_of(offline.pid)
    got = offline.ask(do="run", asked=asked.json(), first=first, count=count)
    used = cpu_of(offline.pid) - before
    return {
        "bare_answers": count * len(asked.prompts()) / got["elapsed"],
        "bare_front_cpu_ms": 1000 * got["front_cpu"] / count,
        "bare_engine_cpu_ms": 1000 * used.engine / count,
        "p_yes": got["p_yes"],
    }


def _same_answers(served: dict[str, list[float]], bare: dict[str, list[float]], asked: Asked) -> None:
    """Both have answered the same prompts about the same frames, and alike."""
    planned = [question.prompt for issue in plan(asked.questions()).issues for reading in issue for question in reading]
    assert served.keys() == bare.keys()
    for number, found in served.items():
        assert found == pytest.approx([bare[number][prompt] for prompt in planned], abs=MOST_APART)
