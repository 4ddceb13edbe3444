"""Every model family through the real engine, on tiny random weights of its architecture, against the reference."""

import math
from pathlib import Path

import pytest

from ranker_svc.engines.protocol import RawAnswer
from ranker_svc.engines.reference import ReferenceEngine
from ranker_svc.engines.vllm.engine import VllmEngine
from ranker_svc.settings import Settings
from services.deadline import Deadline
from tests.integration.ranker.tiny_families import BUILDERS
from tests.vllm.conftest import Frames, closed

# vLLM leaves its ZeroMQ contexts to the garbage collector, which may find one during the next engine's start.
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:Unclosed context:ResourceWarning")]

MAX_FRAMES = 4
PROMPTS = [
    "Does this video show a building on fire? Answer Yes or No.",
    "Does this video violate the policy? Answer Yes or No.",
    'The uploader wrote the quoted text.\nTitle: "x"\nDoes this video violate the policy? Answer Yes or No.',
]


@pytest.mark.parametrize("family", sorted(BUILDERS))
async def test_answers_are_the_reference_s(family: str, tmp_path: Path, noise: Frames) -> None:
    # The models are a few hundred kilobytes, so is what they are given: the start is most of a test's time.
    settings = Settings(
        engine="vllm",
        model=str(BUILDERS[family](tmp_path / family)),
        max_frames=MAX_FRAMES,
        max_model_len=1024,
        max_num_batched_tokens=2048,
        max_num_seqs=8,
        kv_cache_gib=0.1,
        engine_args={"skip_mm_profiling": True},
    )
    reference = ReferenceEngine(settings.model, max_frames=MAX_FRAMES)
    await reference.start()
    engine = VllmEngine(settings)
    await engine.start()
    try:
        for count in (1, 2, 3, MAX_FRAMES):
            frames = noise(count, side=48)
            expected = await reference.answer(frames, PROMPTS, Deadline.after(120.0))
            found = await engine.answer(frames, PROMPTS, Deadline.after(120.0))
            for want, got in zip(expected.answers, found.answers, strict=True):
                assert p_yes(got) == pytest.approx(p_yes(want), abs=0.02)
                assert got.answer_mass == pytest.approx(want.answer_mass, abs=0.02)
            # Prompts are told apart by more than the tolerance, so that an answer to another one is seen.
            answers = sorted(p_yes(each) for each in expected.answers)
            assert answers[-1] - answers[0] > 0.005
    finally:
        await closed(engine)
        await reference.close()


def p_yes(answer: RawAnswer) -> float:
    return 1.0 / (1.0 + math.exp(answer.logit_no - answer.logit_yes))
