"""An exported checkpoint of the lab's fine-tuning in vLLM: its answers are the reference engine's."""

import math
from pathlib import Path

import pytest
import torch

from offline.finetune.export import export
from offline.finetune.model import load_model, trained_state
from offline.finetune.recipe import Recipe
from ranker_svc.engines.protocol import RawAnswer
from ranker_svc.engines.reference import ReferenceEngine
from ranker_svc.engines.vllm.engine import VllmEngine
from ranker_svc.settings import Settings, bundled_model
from services.deadline import Deadline
from tests.vllm.conftest import Frames, closed

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:Unclosed context:ResourceWarning")]

PROMPTS = ["Does this video show arson? Answer Yes or No.", "Does this video violate the policy? Answer Yes or No."]


def answers_changed(folder: Path) -> Path:
    """The bundled ranker as if it had been trained: its projector and its language model are moved.

    No training, since PEFT and accelerate are not in vLLM's environment.
    """
    recipe = Recipe()
    weights = trained_state(load_model(bundled_model(), None, recipe, dtype=torch.float32))
    torch.manual_seed(0)
    moved = {name: each * (1 + 0.3 * torch.randn_like(each)) for name, each in weights.items()}
    return export(bundled_model(), None, recipe, moved, folder)


async def test_vllm_answers_as_the_reference_does(tmp_path: Path, clip_frames: Frames) -> None:
    folder = answers_changed(tmp_path / "tuned")
    original, reference = ReferenceEngine(bundled_model()), ReferenceEngine(str(folder))
    engine = VllmEngine(Settings(engine="vllm", model=str(folder), kv_cache_gib=0.1, max_num_seqs=8))
    try:
        await original.start()
        await reference.start()
        await engine.start()
        assert engine.identity.fingerprint == reference.identity.fingerprint != original.identity.fingerprint
        differences = []
        for clip in ("test-violation-00000", "test-look_alike-00001", "test-other-00002"):
            frames = clip_frames(clip, 4)
            results = [
                await each.answer(frames, PROMPTS, Deadline.after(120.0)) for each in (original, reference, engine)
            ]
            for before, want, got in zip(*(result.answers for result in results), strict=True):
                assert p_yes(got) == pytest.approx(p_yes(want), abs=0.02)
                assert got.answer_mass == pytest.approx(want.answer_mass, abs=0.02)
                differences.append(abs(p_yes(before) - p_yes(want)))
        # Otherwise the original in place of the export would pass.
        assert max(differences) > 0.04
    finally:
        await closed(engine)
        await reference.close()
        await original.close()


def p_yes(answer: RawAnswer) -> float:
    return 1.0 / (1.0 + math.exp(answer.logit_no - answer.logit_yes))
