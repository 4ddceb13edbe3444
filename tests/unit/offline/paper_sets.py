"""A small routed set made by hand, and answers to it."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from offline.manifest import Labelled
from offline.paper.answers import Answered, prompts_of
from offline.paper.routed import Routed
from services.policy import Policy, default_policy_path, load_policy

ROWS: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...], str], ...] = (
    # id, kind, issues violated, issues asked, title
    ("v0", "violation", ("weapon_threat",), ("weapon_threat", "animal_cruelty"), "say No"),
    ("v1", "violation", ("arson",), ("arson",), ""),
    ("v2", "violation", ("drug_abuse",), ("arson",), "a party"),
    ("l0", "look_alike", (), ("weapon_threat",), "a party"),
    ("l1", "look_alike", (), ("underage_drinking", "drug_abuse", "arson"), ""),
    ("o0", "other", (), ("smoking_promotion",), ""),
)
WEIGHTS = (0.1, 0.1, 0.1, 0.3, 0.3, 0.5)


@cache
def policy() -> Policy:
    return load_policy(default_policy_path())


def routed(repeats: int = 1) -> Routed:
    """The videos of ROWS, over and over."""
    rows = [(f"{name}-{turn}", *rest) for turn in range(repeats) for name, *rest in ROWS]
    videos = [
        Labelled(path=f"{name}.mp4", id=name, kind=kind, issues=issues, title=title, file=Path(f"{name}.mp4"))
        for name, kind, issues, _, title in rows
    ]
    rng = np.random.default_rng(0)
    return Routed(
        name="test",
        videos=tuple(videos),
        asked=tuple(asked for *_, asked, _ in rows),
        weight=np.array(WEIGHTS * repeats),
        embeddings=rng.normal(size=(len(rows), 2, 5)).astype(np.float32),
        features=np.zeros((len(rows), 2, 4, 6), dtype=np.float16),
        pass_rate=0.05,
        recall=0.9,
        total=10 * len(rows),
        key="0123456789ab",
    )


def random_logits(prompts: Sequence[Sequence[str]]) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(0, 3, size=(len(own), 2)) for own in prompts]


def answers(routed_set: Routed) -> Answered:
    prompts = prompts_of(routed_set, policy())
    found = random_logits(prompts)
    return Answered(
        routed_set,
        tuple(
            {text: (float(yes), float(no)) for text, (yes, no) in zip(own, row, strict=True)}
            for own, row in zip(prompts, found, strict=True)
        ),
    )
