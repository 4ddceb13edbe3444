"""What a router would send on among training videos, and that the ranker is taught on it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from offline.demo_world.taxonomy import ISSUES
from offline.training.clip_model import WIDTH, load_training_checkpoint
from offline.training.packing import Packer
from offline.training.questions import Teacher
from offline.training.sent_on import Router
from offline.training.videos import FRAMES, TrainingVideo
from offline.training.vocabulary import TAGS
from services.encoder.head import HeadConfig, TagHead
from services.policy import default_policy_path, load_policy
from tests.integration.offline.conftest import Exported

THREAT = TrainingVideo((("axe", "boy"),) * FRAMES, ("weapon_threat",), "")
PLAIN = TrainingVideo((("bug", "cloud"),) * FRAMES, (), "")


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("router")
    torch.manual_seed(4)
    TagHead(WIDTH, HeadConfig(TAGS, 32, 16)).save(folder)
    return folder


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """Of 60 videos: the last twenty look almost like the first twenty, which violate."""
    rng = np.random.default_rng(0)
    made = rng.standard_normal((60, FRAMES, 64, WIDTH))
    made[40:] = made[:20] + 0.4 * rng.standard_normal(made[:20].shape)
    return made.astype(np.float16)


VIDEOS = [THREAT] * 20 + [PLAIN] * 40


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_what_resembles_violations_is_sent_on(dense: Path, router: Path, features: np.ndarray, share: float) -> None:
    clip, _ = load_training_checkpoint(dense)
    found = Router(clip, router, features, VIDEOS, clean_share=share).sends_on(features)
    assert all("weapon_threat" in own for own in found[:16]), "they are the seeds"
    clean = [bool(own) for own in found[20:]]
    assert share - 0.15 < np.mean(clean) <= share + 0.001
    alike, other = np.mean(clean[20:]), np.mean(clean[:20])
    assert alike > other
    assert {issue for own in found for issue in own} <= {issue.id for issue in ISSUES}


def test_half_of_d3_is_what_was_sent_on(exported: Exported) -> None:
    teacher = Teacher(load_policy(default_policy_path()))
    features = np.zeros((50, FRAMES, 64, 192), dtype=np.float16)
    features[:] = np.arange(50)[:, None, None, None]
    words = np.zeros((50, FRAMES, 64), dtype=np.int16)
    videos = [replace(PLAIN, sent_on=("arson",) if i == 7 else ()) for i in range(50)]
    packer = Packer(features, words, videos, teacher, exported.tokens, 0, sent_share=0.5)
    stream = packer.batches(20, frames=FRAMES, d1=0, d2=0, d3=2)
    own = torch.cat([next(stream).features[:, 0, 0, 0] for _ in range(8)])
    assert 0.35 < (own == 7).float().mean() < 0.65
    never = Packer(features, words, videos, teacher, exported.tokens, 0).batches(40, frames=FRAMES, d1=0, d2=0, d3=2)
    assert (torch.cat([next(never).features[:, 0, 0, 0] for _ in range(4)]) == 7).float().mean() < 0.15


def test_what_it_was_sent_on_for_is_asked_first() -> None:
    policy = load_policy(default_policy_path())
    names = {issue.id: issue.name for issue in policy.slice(None).issues}
    video = replace(PLAIN, sent_on=("arson", "drug_abuse"))
    for seed in range(10):
        lessons = Teacher(policy).lessons(video, np.random.default_rng(seed), d1=0, d2=0, d3=3)
        assert {n for n in names if names[n] in lessons[0].text + lessons[1].text} == {"arson", "drug_abuse"}
        assert [lesson.answer for lesson in lessons] == ["No"] * 3
    both = replace(THREAT, sent_on=("weapon_threat", "arson"))
    first, second, *_ = Teacher(policy).lessons(both, np.random.default_rng(0), d1=0, d2=0, d3=4)
    assert names["weapon_threat"] in first.text
    assert (first.answer, second.answer) == ("Yes", "No")
    assert names["arson"] in second.text
