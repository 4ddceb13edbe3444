"""The classifier of Table 1 learns from embeddings and from titles, and says nothing where it has seen nothing."""

import numpy as np

from offline.paper.probe import Examples, Probe


def examples(count: int, seed: int, *, titled: bool = True) -> tuple[Examples, np.ndarray]:
    """The first issue shows in one frame's first number, the second in the title, the third never happens."""
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(0, 0.3, size=(count, 4, 6)).astype(np.float32)
    labels = np.zeros((count, 3), dtype=bool)
    labels[:, :2] = rng.random((count, 2)) < 0.3
    embeddings[labels[:, 0], rng.integers(4), 0] += 3
    words = [("free money" if label else "a day out") if titled else "" for label in labels[:, 1]]
    return Examples(embeddings, tuple(words)), labels


def test_it_learns_pictures_and_titles() -> None:
    train, labels = examples(120, 0)
    test, truth = examples(200, 1)
    p = Probe(train, labels, 1.0).probabilities(test)
    for issue in (0, 1):
        assert ((p[:, issue] > 0.5) == truth[:, issue]).mean() > 0.97
    assert (p[:, 2] == 0.0).all(), "no example: never"


def test_without_titles_it_does_with_pictures() -> None:
    train, labels = examples(120, 0, titled=False)
    test, truth = examples(200, 1, titled=False)
    p = Probe(train, labels, 1.0).probabilities(test)
    assert ((p[:, 0] > 0.5) == truth[:, 0]).mean() > 0.97


def test_a_word_that_stands_once_is_no_vocabulary() -> None:
    train, labels = examples(20, 0, titled=False)
    labels[0] = True
    single = Examples(train.embeddings, ("unheard", *train.titles[1:]))
    assert np.isfinite(Probe(single, labels, 1.0).probabilities(single)).all()


def test_few_labels_are_the_first_videos() -> None:
    train, _ = examples(20, 0)
    few = train.head(3)
    assert few.titles == train.titles[:3]
    assert (few.embeddings == train.embeddings[:3]).all()
