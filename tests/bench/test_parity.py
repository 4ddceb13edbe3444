"""Whether the engines `vllm` and `openai` answer as `reference` does, on 200 videos of the demo world."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from offline.demo_world.splits import Counts
from ranker_svc.settings import Settings
from tests.bench.lab_videos import lab_videos
from tests.bench.parity import (
    LEAST_AGREEMENT,
    MOST_APART,
    PROMPTS,
    Apart,
    Said,
    apart,
    ask,
    frames_of,
    part,
    ranker_with,
)
from tests.bench.results import Report
from tests.vllm.server import NAME, vllm_server

SAMPLE = Counts(violation=96, look_alike=64, other=48)  # 208 videos
ENGINES = ("vllm", "openai")

# vLLM and what it imports give warnings of their own in this process.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.usefixtures("needs_vllm")
async def test_parity(report: Report, tmp_path: Path) -> None:
    videos = lab_videos(SAMPLE, Console())
    assert len(videos) == SAMPLE.total
    frames = [frames_of(video.file) for video in videos]
    figures: dict[str, Any] = {"videos": len(videos)}
    rows: list[tuple[object, ...]] = []
    said: dict[str, Said] = {}
    for engine, server in (("reference", nullcontext()), ("vllm", nullcontext()), ("openai", vllm_server(tmp_path))):
        with server as running:
            own = {} if running is None else {"openai_urls": (running.url,), "openai_model": NAME}
            async with ranker_with(Settings(engine=engine, **own)) as ranker:
                said[engine] = await ask(ranker, frames)
    for engine in ENGINES:
        whole = apart(said["reference"].judgements, said[engine].judgements)
        figures[engine] = {"all": _json(whole), "seconds": said[engine].seconds}
        for prompt in PROMPTS:
            for alone in (True, False):
                name = f"{prompt}, {'one issue' if alone else 'several issues'}"
                found = apart(*(part(said[each].judgements, prompt, alone=alone) for each in ("reference", engine)))
                figures[engine][name] = _json(found)
                rows.append((engine, name, *_cells(found)))
        rows.append((engine, "all", *_cells(whole)))
    report.table(
        f"Parity with the reference engine, {len(videos)} videos of the demo world",
        ("engine", "asked", "answers", "p(Yes)", "score", "probability", "verdicts", "equal"),
        rows,
        note=f"Differences are absolute: greatest (mean). Aim: none above {MOST_APART}, {LEAST_AGREEMENT:.1%} of "
        f"verdicts equal. Seconds of work: {', '.join(f'{name} {each.seconds:.0f}' for name, each in said.items())}.",
    )
    report.write("parity", figures)
    for engine in ENGINES:
        assert apart(said["reference"].judgements, said[engine].judgements).holds()


def _json(found: Apart) -> dict[str, Any]:
    return {
        "answers": found.answers,
        "verdicts": found.verdicts,
        **{
            name: {"greatest": value[0], "mean": value[1]}
            for name, value in (("p_yes", found.p_yes), ("score", found.score), ("probability", found.probability))
        },
        "agreement": found.agreement,
    }


def _cells(found: Apart) -> tuple[object, ...]:
    distances = (f"{value[0]:.2g} ({value[1]:.1g})" for value in (found.p_yes, found.score, found.probability))
    return (found.answers, *distances, found.verdicts, f"{found.agreement:.2%}")
