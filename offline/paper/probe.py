"""The multimodal classifier of Table 1: logistic regressions on frozen router embeddings and the words of the title."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
REGULARISATIONS = (0.01, 0.1, 1.0, 10.0)


@dataclass(frozen=True)
class Examples:
    """Videos as the classifier sees them.

    Attributes:
        embeddings: [n, frames, dim] of the router.
        titles: of each; may be empty.
    """

    embeddings: npt.NDArray[np.float32]
    titles: tuple[str, ...]

    def head(self, count: int) -> "Examples":
        """The first videos."""
        return Examples(self.embeddings[:count], self.titles[:count])


class Probe:
    """One logistic regression for each issue, over the maximum and the mean of the frames and TF-IDF of the title.

    Args:
        train: videos to learn from.
        labels: [n, issues] whether each video violates each issue.
        regularisation: inverse strength C.
    """

    def __init__(self, train: Examples, labels: npt.NDArray[np.bool_], regularisation: float) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        # A sample without any title has no vocabulary: one word that is nobody's stands for it.
        self._words = TfidfVectorizer(min_df=2, sublinear_tf=True) if _has_words(train.titles) else None
        if self._words is not None:
            self._words.fit(train.titles)
        self._scale = StandardScaler().fit(_pooled(train.embeddings))
        inputs = self._inputs(train)
        self._models: list[Any] = []
        for column in labels.T:
            if column.any() and not column.all():
                model = LogisticRegression(C=regularisation, class_weight="balanced", max_iter=2000)
                self._models.append(model.fit(inputs, column))
            else:  # nothing can be learnt of an issue with one kind of label
                self._models.append(float(column.any()))

    def probabilities(self, videos: Examples) -> Floats:
        """[n, issues] in [0, 1]."""
        inputs = self._inputs(videos)
        columns = [
            np.full(len(videos.titles), model) if isinstance(model, float) else model.predict_proba(inputs)[:, 1]
            for model in self._models
        ]
        return np.stack(columns, axis=1)

    def _inputs(self, videos: Examples) -> Any:
        from scipy.sparse import csr_matrix, hstack

        parts = [csr_matrix(self._scale.transform(_pooled(videos.embeddings)))]
        if self._words is not None:
            parts.append(self._words.transform(videos.titles))
        return hstack(parts, format="csr")


def _has_words(titles: Sequence[str]) -> bool:
    """Whether some word of at least two letters stands in two titles, which is what the vectorizer counts."""
    from sklearn.feature_extraction.text import CountVectorizer

    analyse = CountVectorizer().build_analyzer()
    seen: set[str] = set()
    for title in titles:
        words = set(analyse(title))
        if words & seen:
            return True
        seen |= words
    return False


def _pooled(embeddings: npt.NDArray[np.float32]) -> Floats:
    return np.concatenate([embeddings.max(axis=1), embeddings.mean(axis=1)], axis=1).astype(np.float64)
