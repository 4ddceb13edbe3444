"""What the paper's tables read from a ranker in training form is what the served engine answers to the same video."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from offline.paper.routed import Tower
from offline.paper.scoring import AnswerIds, hidden_states, scores
from offline.training.ranker_trainer import RankerTrainer
from offline.training.vocabulary import Classes
from ranker_svc.engines.protocol import FrameImage
from ranker_svc.engines.reference import ReferenceEngine
from services.contracts import Context, PromptName
from services.deadline import Deadline
from services.media import encode_jpeg
from services.policy import default_policy_path, load_policy
from services.prompts import context_block, plan
from tests.integration.offline.conftest import Exported

FRAMES, VIDEOS = 4, 2
QUALITY = 90
CLOSE = 1e-3
"""Of logits: the features are kept in float16."""


@pytest.fixture(scope="module")
def videos() -> np.ndarray:
    """Coarse noise [videos, frames, height, width, 3], wider than high."""
    coarse = np.random.default_rng(2).integers(0, 256, (VIDEOS * FRAMES, 5, 8, 3), dtype=np.uint8)
    frames = [np.asarray(Image.fromarray(each).resize((200, 125))) for each in coarse]
    return np.stack(frames).reshape(VIDEOS, FRAMES, 125, 200, 3)


@pytest.fixture(scope="module")
def features(exported: Exported, videos: np.ndarray) -> np.ndarray:
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(exported.folder).image_processor
    tower = Tower(exported.clip, processor, QUALITY, "tower")
    return np.stack([tower.features(list(frames)) for frames in videos])


@pytest.fixture(scope="module")
def prompts() -> list[list[str]]:
    """More than one pass holds about the first video, two about the second."""
    issues = load_policy(default_policy_path()).slice(None).issues
    templates: tuple[PromptName, ...] = ("P1", "P2", "P3", "P4")
    asked = [issue.model_copy(update={"prompt": each}) for issue in issues for each in templates]
    whole = plan(asked, context_block(Context(title="how to axe"))).prompts
    return [list(whole[:14]), [whole[3], whole[0]]]


@pytest.fixture(scope="module")
def trainer(exported: Exported, loaded: Any, classes: Classes) -> RankerTrainer:
    return RankerTrainer(loaded, exported.tokens, classes).eval()


async def test_logits_are_the_engines(
    exported: Exported, trainer: RankerTrainer, videos: np.ndarray, features: np.ndarray, prompts: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("offline.paper.scoring.PASS_TOKENS", 150)  # so that a video's prompts need several passes
    found = scores(trainer, exported.tokens, features, prompts)
    assert [each.shape for each in found] == [(14, 2), (2, 2)]
    engine = ReferenceEngine(str(exported.folder))
    await engine.start()
    try:
        for frames, asked, ours in zip(videos, prompts, found, strict=True):
            files = [encode_jpeg(frame, QUALITY) for frame in frames]
            sent = [FrameImage(jpeg, Image.open(_file(jpeg)).convert("RGB")) for jpeg in files]
            served = await engine.answer(sent, asked, Deadline.after(300))
            theirs = np.array([[answer.logit_yes, answer.logit_no] for answer in served.answers])
            np.testing.assert_allclose(ours, theirs, atol=CLOSE)
            assert np.ptp(theirs, axis=0).max() > 10 * CLOSE, "another prompt's answer would be noticed"
    finally:
        await engine.close()
    assert np.abs(found[0][[3, 0]] - found[1]).max() > 10 * CLOSE, "and another video's"


def test_hidden_states_are_those_that_are_read(
    exported: Exported, trainer: RankerTrainer, features: np.ndarray, prompts: list[list[str]]
) -> None:
    states = hidden_states(trainer, exported.tokens, features, prompts[1][0])
    assert states.shape == (VIDEOS, 192)
    ids = AnswerIds.of(exported.tokens)
    with torch.inference_mode():
        logits = trainer.llava.lm_head(torch.from_numpy(states)).double()
    pairs = torch.stack([logits[:, list(own)].logsumexp(1) for own in (ids.yes, ids.no)], dim=1).numpy()
    asked = [[prompts[1][0]]] * VIDEOS
    np.testing.assert_allclose(pairs, np.concatenate(scores(trainer, exported.tokens, features, asked)), atol=1e-6)


def test_a_ranker_with_another_tower_is_refused(
    exported: Exported, classes: Classes, tmp_path: Path, features: np.ndarray
) -> None:
    from rich.console import Console

    from offline.paper.rankers import Asker
    from offline.paper.runs import runs
    from offline.paper.train import Trained
    from tests.unit.offline.paper_sets import policy, routed

    checkpoint, tokenizer = tmp_path / "ranker.pt", tmp_path / "tokenizer"
    exported.tokens.save_pretrained(tokenizer)
    clip = exported.clip
    state = {"model": exported.state, "clip_config": _config(clip)}
    torch.save(state, checkpoint)
    trained = Trained(runs()[0], checkpoint, tokenizer, "f" * 16, 1.0)
    tower = clip.state_dict()
    few = routed()
    seen = replace(few, features=np.resize(features, (len(few.videos), *features.shape[1:])))
    asked = Asker(trained, classes, tower, Console(quiet=True)).answers(seen, policy(), tmp_path)
    assert all(logits for logits in asked.logits)
    other = {name: tensor + 1.0 if name.startswith("visual") else tensor for name, tensor in tower.items()}
    with pytest.raises(ValueError, match="another vision tower"):
        Asker(trained, classes, other, Console(quiet=True)).space(seen, policy(), "LLaVA")


def _config(clip: Any) -> dict[str, Any]:
    from offline.training.clip_model import model_config

    layers = len(clip.visual.transformer.resblocks)
    return model_config(clip.vocab_size, pad_id=0, eos_id=2, layers=layers)


def _file(jpeg: bytes) -> Any:
    import io

    return io.BytesIO(jpeg)
