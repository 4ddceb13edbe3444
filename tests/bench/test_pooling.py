"""Whether vLLM's pooling conversion answers as generation does, and whether it pays. Record 0026 has the decision."""

from contextlib import ExitStack
from typing import Any

import pytest

from tests.bench.helper import Helper
from tests.bench.ranker_process import MODELS, Numbers, count_for, cpu_of, model_named, vllm_environment
from tests.bench.ranker_requests import Asked
from tests.bench.results import Figure, Report

ROUNDS = 4
ROUND_S = 5.0
WARM = 24
MOST_APART = 0.02


@pytest.mark.usefixtures("needs_vllm")
@pytest.mark.parametrize("name", MODELS)
def test_pooling(name: str, report: Report) -> None:
    model = model_named(name)
    numbers = Numbers()
    figures: dict[str, Any] = {}
    rows = []
    with ExitStack() as stack:
        sides = {}
        for kind in ("generate", "classify"):
            sides[kind] = stack.enter_context(Helper("tests.bench.offline_llm", vllm_environment()))
            facts = sides[kind].ask(do="start", settings=model.settings("vllm"), classify=kind == "classify")
        for issues in (1, 4):
            asked = Asked("P2", issues, model.side)
            first = numbers.take(WARM)
            for side in sides.values():
                slowest = side.ask(do="run", asked=asked.json(), first=first, count=WARM)["elapsed"]
            count = count_for(ROUND_S, WARM / slowest, WARM)
            rounds = [_round(sides, asked, numbers.take(count), count, number) for number in range(ROUNDS)]
            each = {key: Figure.of([one[key] for one in rounds]) for key in rounds[0]}
            figures[f"P2, {issues} issues"] = each
            rows.append(
                (
                    f"P2, {issues} issue{'s' if issues > 1 else ''}",
                    each["generate_answers"].show(1),
                    each["classify_answers"].show(1),
                    each["ratio"].show(3),
                    each["generate_cpu_ms"].show(1),
                    each["classify_cpu_ms"].show(1),
                    f"{each['pair_apart'].high:.1g}",
                    f"{each['all_apart'].high:.1g}",
                )
            )
            assert each["pair_apart"].high < MOST_APART
    report.table(
        f"Pooling conversion and generation, offline, {name}",
        (
            "asked",
            "generate/s",
            "classify/s",
            "ratio",
            "generate CPU ms",
            "classify CPU ms",
            "same tokens",
            "spellings",
        ),
        rows,
        note=f"Answers/s, median [least, greatest] of {ROUNDS} interleaved rounds of about {ROUND_S:.0f} s. CPU is of "
        f"one answer. The last two columns: greatest difference of p(Yes), to generation with the same two tokens "
        f"({', '.join(facts['pair'])}) and to generation with all {facts['spellings']} spellings.",
    )
    report.write(f"pooling: {name}", figures)


def _round(sides: dict[str, Helper], asked: Asked, first: int, count: int, number: int) -> dict[str, float]:
    """Both sides ask the same; who begins changes from round to round."""
    found: dict[str, float] = {}
    pair: dict[str, list[float]] = {}
    every: dict[str, list[float]] = {}
    answers = count * len(asked.prompts())
    for kind in list(sides) if number % 2 else reversed(sides):
        before = cpu_of(sides[kind].pid)
        got = sides[kind].ask(do="run", asked=asked.json(), first=first, count=count)
        used = got["front_cpu"] + (cpu_of(sides[kind].pid) - before).engine
        found |= {f"{kind}_answers": answers / got["elapsed"], f"{kind}_cpu_ms": 1000 * used / answers}
        pair[kind] = got["p_pair"]
        every[kind] = [p for each in got["p_yes"].values() for p in each]
    ratio = found["classify_answers"] / found["generate_answers"]
    return {**found, "ratio": ratio, "pair_apart": _apart(pair), "all_apart": _apart(every)}


def _apart(said: dict[str, list[float]]) -> float:
    """Greatest difference of what the two sides said."""
    return max(abs(a - b) for a, b in zip(said["generate"], said["classify"], strict=True))
