"""The vllm engine judges the bundled clips as the reference engine does; on more videos: tests/bench/test_parity.py.

The openai engine is compared in test_openai_server.py.
"""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from ranker_svc.engines.create import calibrators_directory
from ranker_svc.engines.vllm.engine import VllmEngine
from ranker_svc.metrics import RankerMetrics
from ranker_svc.ranker import Ranker
from ranker_svc.settings import Settings
from services.calibration import load_calibrators
from services.contracts import Frame
from services.policy import default_policy_path, load_policy
from tests.bench.parity import PROMPTS, SEVERAL, Judgement, Said, apart, ask


@asynccontextmanager
async def ranker_around(engine: VllmEngine) -> AsyncIterator[Ranker]:
    """A ranker around the engine of this session."""
    settings = Settings(engine="vllm")
    calibrators = load_calibrators(calibrators_directory(settings))
    with ThreadPoolExecutor(max_workers=1) as decoder:
        yield Ranker(settings, engine, calibrators, decoder, RankerMetrics(CollectorRegistry()))


async def test_vllm_agrees_with_reference(
    engine: VllmEngine, judged_by_reference: Said, clips: list[tuple[Frame, ...]]
) -> None:
    async with ranker_around(engine) as ranker:
        said = await ask(ranker, clips)
    # One request about one issue and one about several, for each clip and template.
    assert len(said.judgements) == 16 * len(PROMPTS) * (1 + SEVERAL)
    found = apart(judged_by_reference.judgements, said.judgements)
    assert found.holds(), found


REVIEW = load_policy(default_policy_path()).issue("weapon_threat").actions.review
BELOW = REVIEW - 0.01
SAME = {
    (video, PROMPTS[0], 1, "weapon_threat"): Judgement(p_yes=(0.1,), score=0.1, probability=BELOW)
    for video in range(100)
}
FIRST = next(iter(SAME))


def test_equal_judgements_hold() -> None:
    assert apart(SAME, dict(SAME)).holds()


@pytest.mark.parametrize(
    "moved",
    [
        Judgement(p_yes=(0.13,), score=0.1, probability=BELOW),
        Judgement(p_yes=(0.1,), score=0.13, probability=BELOW),
        Judgement(p_yes=(0.1,), score=0.1, probability=BELOW - 0.03),
        # As near as can be, but on the other side of the threshold: one verdict in a hundred is too many.
        Judgement(p_yes=(0.1,), score=0.1, probability=REVIEW + 0.001),
    ],
    ids=["p(Yes)", "score", "probability", "verdict"],
)
def test_a_difference_is_seen(moved: Judgement) -> None:
    assert not apart(SAME, {**SAME, FIRST: moved}).holds()
