"""(a) How many answers a second the ranker gives through HTTP, of those that vLLM's offline `LLM` gives bare.

Twice: an `LLM` as vLLM starts one, and one whose model computes where the ranker's does (see engines/vllm/cores.py).
"""

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
ROUNDS = 4
ROUND_S = 12.0
"""Long against its first second, in which the first requests are prepared and the engine has little to do."""
SIDES = ("HTTP", "LLM", "LLM, same cores")
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
        offline = {
            side: stack.enter_context(Helper("tests.bench.offline_llm", vllm_environment())) for side in SIDES[1:]
        }
        for side, helper in offline.items():
            helper.ask(do="start", settings=model.settings("vllm"), classify=False, stock=side == SIDES[1])
        client = stack.enter_context(Helper("tests.bench.rank_client"))
        room = {"WINNOW_RANKER_MAX_WAITING": str(2 * callers)}
        ranker = stack.enter_context(ranker_process(tmp_path, "vllm", model, **room))
        for issues in (1, 4):
            asked = Asked("P2", issues, model.side)
            for helper in offline.values():
                _offline(helper, asked, numbers.take(callers), callers)
            warm = measured(client, ranker, asked, numbers.take(callers), callers, callers)
            count = count_for(ROUND_S, warm["requests"], 2 * callers)
            rounds: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
            for number in range(ROUNDS):
                # All sides see the same frames, which none has seen before; each side is the first one in its turn.
                first = numbers.take(count)
                got = {}
                for side in SIDES[number % 3 :] + SIDES[: number % 3]:
                    if side in offline:
                        got[side] = _offline(offline[side], asked, first, count)
                    else:
                        got[side] = _served(measured(client, ranker, asked, first, count, callers))
                served, *bare = (got[side].pop("p_yes") for side in SIDES)
                for each in bare:
                    _same_answers(served, each, asked)
                for side in SIDES:
                    rounds[side].append({**got[side], "ratio": got[SIDES[0]]["answers"] / got[side]["answers"]})
            title = f"P2, {issues} issue{'s' if issues > 1 else ''}, {len(asked.prompts())} prompts"
            figures[title] = {"requests_a_round": count}
            for side in SIDES:
                each = {key: Figure.of([one[key] for one in rounds[side]]) for key in rounds[side][0]}
                figures[title][side] = each
                shown = [each[key].show(1) for key in ("answers", "front_cpu_ms", "engine_cpu_ms")]
                rows.append((title, side, *shown, "" if side == SIDES[0] else each["ratio"].show(3)))
    report.table(
        f"Ranker efficiency: answers/s through HTTP over answers/s of LLM.generate, {name}",
        ("asked", "by", "answers/s", "front CPU, ms", "engine CPU, ms", f"HTTP over it, aim {AIM}"),
        rows,
        note=f"Median [least, greatest] of {ROUNDS} interleaved rounds of {ROUND_S:.0f} s, {callers} callers, four new "
        "frames in every request. CPU of one request; engine: vLLM's processes, front: the one before.",
    )
    report.write(f"ranker_efficiency: {name}", figures)


def _served(got: dict[str, Any]) -> dict[str, Any]:
    return {**all_answered(got), "p_yes": got["raw"]["p_yes"]}


def _offline(offline: Helper, asked: Asked, first: int, count: int) -> dict[str, Any]:
    before = cpu_of(offline.pid)
    got = offline.ask(do="run", asked=asked.json(), first=first, count=count)
    used = cpu_of(offline.pid) - before
    return {
        "answers": count * len(asked.prompts()) / got["elapsed"],
        "front_cpu_ms": 1000 * got["front_cpu"] / count,
        "engine_cpu_ms": 1000 * used.engine / count,
        "p_yes": got["p_yes"],
    }


def _same_answers(served: dict[str, list[float]], bare: dict[str, list[float]], asked: Asked) -> None:
    """Both have answered the same prompts about the same frames, and alike."""
    planned = [question.prompt for issue in plan(asked.questions()).issues for reading in issue for question in reading]
    assert served.keys() == bare.keys()
    for number, found in served.items():
        assert found == pytest.approx([bare[number][prompt] for prompt in planned], abs=MOST_APART)
