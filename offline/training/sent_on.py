"""Which training videos a router would send on, and for which issues.

The paper's classification data set has the distribution of traffic behind the router (Filter-And-Refine, 4.2).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from offline.demo_world.taxonomy import ISSUES, violated
from offline.training.videos import TrainingVideo
from offline.tuning.pass_rate import fit_thresholds
from services.encoder.head import TagHead

SEEDS = 16
"""Violating frames of each issue, of as many videos, that stand for a bank of seeds."""
CLEAN_SHARE = 0.2
"""Share of the clean training videos that is sent on. They resemble violations far more often than traffic does."""
_BATCH = 64  # videos


class Router:
    """The head's similarities to violating frames of training videos, with thresholds of its own.

    Args:
        clip: the open_clip model whose features are cached.
        model: the router's model directory, for its head.
        features: float16 [n, frames, patches, width].
        videos: their truth, [n].
        clean_share: share of the clean videos that is sent on.
    """

    def __init__(
        self,
        clip: Any,
        model: Path,
        features: np.ndarray,
        videos: Sequence[TrainingVideo],
        *,
        clean_share: float = CLEAN_SHARE,
    ) -> None:
        self._head, self._normalise = TagHead.load(model), clip.visual.ln_post.eval()
        self._issues = [issue.id for issue in ISSUES]
        vectors = self._embedded(features)
        seeds: list[list[npt.NDArray[np.float32]]] = [[] for _ in self._issues]
        for video, frames in zip(videos, vectors, strict=True):
            found = [violated((frozenset(names),)) for names in video.frames]
            for issue, own in zip(self._issues, seeds, strict=True):
                guilty = next((frame for frame, told in zip(frames, found, strict=True) if issue in told), None)
                if guilty is not None and len(own) < SEEDS:
                    own.append(guilty)
        self._bank = [np.array(own).reshape(len(own), vectors.shape[-1]) for own in seeds]
        clean = np.array([not video.issues for video in videos])
        risk = self._risk(vectors)[clean]
        self._cuts = fit_thresholds(risk, np.ones(len(risk)), self._issues, pass_rate=clean_share)[0]

    def sends_on(self, features: np.ndarray) -> list[tuple[str, ...]]:
        """Issues for which each video is sent on. Features as in the cache, [n, frames, patches, width]."""
        risk = self._risk(self._embedded(features))
        cuts = np.array([self._cuts[issue] for issue in self._issues])
        return [tuple(issue for issue, high in zip(self._issues, row, strict=True) if high) for row in risk >= cuts]

    @torch.inference_mode()
    def _embedded(self, features: np.ndarray) -> npt.NDArray[np.float32]:
        """Unit vectors [n, frames, dim]."""
        found = []
        for start in range(0, len(features), _BATCH):
            part = torch.from_numpy(np.array(features[start : start + _BATCH])).float()
            found.append(self._head(self._normalise(part.flatten(0, 1))).unflatten(0, part.shape[:2]).numpy())
        return np.concatenate(found)

    def _risk(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """[n, issues] in [0, 1]: the highest cosine of any frame with any seed, halfway between -1 and 1 at 0.5."""
        best = [
            (vectors @ bank.T).max(axis=(1, 2)) if len(bank) else np.full(len(vectors), -1.0) for bank in self._bank
        ]
        return np.clip((np.stack(best, axis=1).astype(np.float64) + 1) / 2, 0.0, 1.0)
