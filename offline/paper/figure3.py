"""Figure 3: where models put the same videos in their last layer, drawn, and measured so that it can be checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from offline import plots
from offline.statistics import Estimate, bootstrap, roc_auc

SEED = 0
FOLDS = 5


@dataclass(frozen=True)
class Space:
    """The last hidden states [n, d] of one model at the answer's position."""

    name: str
    states: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Separation:
    """How far labels are apart in a space.

    Attributes:
        probe: ROC-AUC of a linear probe, cross-validated.
        silhouette: mean silhouette of the two classes, in [-1, 1].
    """

    name: str
    probe: Estimate
    silhouette: float


def separation(
    space: Space,
    guilty: npt.NDArray[np.bool_],
    weight: npt.NDArray[np.float64],
    strata: npt.NDArray[np.int_],
    *,
    rounds: int = 500,
) -> Separation:
    """Measure one space. The probe's interval redraws videos and keeps the probe's scores.

    There are fewer folds where a class has fewer videos; nan where it has fewer than two.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import silhouette_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    smaller = int(min(guilty.sum(), (~guilty).sum()))
    if smaller < 2:
        return Separation(space.name, Estimate(np.nan, np.nan, np.nan), np.nan)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000))
    folds = StratifiedKFold(min(FOLDS, smaller), shuffle=True, random_state=SEED)
    score = cross_val_predict(probe, space.states, guilty, cv=folds, method="decision_function")
    estimate = bootstrap(lambda i: roc_auc(score[i], guilty[i], weight[i]), strata, rounds=rounds)
    return Separation(space.name, estimate, float(silhouette_score(_scaled(space.states), guilty)))


def draw(spaces: Sequence[Space], guilty: npt.NDArray[np.bool_], path: Path) -> Path:
    """One panel for each space: t-SNE of its states to two dimensions, coloured by the overall label."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(4.2 * len(spaces), 4.0), layout="constrained")
    panels: Any = drawn.subplots(1, len(spaces), squeeze=False)[0]
    for axes, space in zip(panels, spaces, strict=True):
        plots.style(axes)
        points = _plane(space.states)
        for name, mask, colour in (
            ("no violation", ~guilty, plots.COLOURS[5]),
            ("violation", guilty, plots.COLOURS[1]),
        ):
            axes.scatter(*points[mask].T, s=9, color=colour, alpha=0.7, linewidths=0, label=name)
        axes.set_title(space.name, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
    drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return plots.save(drawn, path)


def _plane(states: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(states) - 1) / 3)
    placed = TSNE(2, perplexity=perplexity, init="pca", random_state=SEED, n_jobs=1).fit_transform(_scaled(states))
    return np.asarray(placed, dtype=np.float32)


def _scaled(states: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    from sklearn.preprocessing import StandardScaler

    return np.asarray(StandardScaler().fit_transform(states.astype(np.float64)))
