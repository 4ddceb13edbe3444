"""Trains the classifier of Table 1 on the rankers' own training videos and scores routed traffic with it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from offline.paper.measures import Population
from offline.paper.probe import REGULARISATIONS, Examples, Probe
from offline.paper.routed import Routed
from offline.paper.train import Sources
from offline.statistics import pr_auc

Floats = npt.NDArray[np.float64]
BATCH = 64  # videos


def training_examples(
    sources: Sources, router_model: Path, issues: Sequence[str], console: Console
) -> tuple[Examples, npt.NDArray[np.bool_]]:
    """The training videos' router embeddings and titles, and [n, issues] what they violate.

    The embeddings come of the cached patch features: the router is the same tower with a head.
    """
    import torch

    from offline.demo_world.art import TRAINING_STYLES, Art
    from offline.training.clip_model import load_training_checkpoint
    from offline.training.features import TrainingFrames, cache_features
    from offline.training.vocabulary import Classes
    from services.encoder.head import TagHead

    art = Art(sources.art, TRAINING_STYLES)
    classes = Classes.of_art(art)
    clip, _ = load_training_checkpoint(sources.dense)
    features, _ = cache_features(
        clip, art, classes, sources.features, count=sources.videos, seed=sources.seed, console=console
    )
    head, normalise = TagHead.load(router_model), clip.visual.ln_post.eval()
    found = []
    with torch.inference_mode():
        for start in range(0, sources.videos, BATCH):
            part = torch.from_numpy(np.array(features[start : start + BATCH])).float()  # a copy: torch wants to write
            found.append(head(normalise(part.flatten(0, 1))).unflatten(0, part.shape[:2]).numpy())
    frames = TrainingFrames(art, classes, sources.videos, sources.seed)
    truth = [frames.truth(i) for i in range(sources.videos)]
    labels = np.array([[issue in video.issues for issue in issues] for video in truth], dtype=bool)
    return Examples(np.concatenate(found), tuple(video.title for video in truth)), labels


def chosen_probe(
    train: Examples, labels: npt.NDArray[np.bool_], calibration: Routed, issues: Sequence[str]
) -> tuple[Probe, float]:
    """The probe, and its C, that has the highest PR-AUC over videos on routed calibration traffic."""
    truth = Population.of(calibration)

    def quality(probe: Probe) -> float:
        return pr_auc(truth.by_video(probe_scores(probe, calibration, issues)), truth.guilty, truth.weight)

    probes = [(Probe(train, labels, c), c) for c in REGULARISATIONS]
    return max(probes, key=lambda each: np.nan_to_num(quality(each[0])))


def probe_scores(probe: Any, routed: Routed, issues: Sequence[str]) -> Floats:
    """Scores of all (video, issue asked) pairs, in the order of `measures.Population`."""
    p = probe.probabilities(Examples(routed.embeddings, tuple(video.title for video in routed.videos)))
    column = {issue: i for i, issue in enumerate(issues)}
    return np.array([p[v, column[issue]] for v, asked in enumerate(routed.asked) for issue in asked])
