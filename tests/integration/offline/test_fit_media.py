"""Seeds and videos as the router would see them: decoded, sampled, embedded, compared."""

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from offline.fit import SeedSegment, embed_seeds, frame_similarities, similarities_by_kind
from services.contracts import SeedKind
from services.encoder import HashEncoder
from tests.media_factory import BLUE, GREEN, RED, flat, render
from tests.unit.offline.decisions import labelled


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Plain colours, and one that is green for two seconds and then red for two."""
    folder = tmp_path_factory.mktemp("clips")
    plain = {
        name: render(folder / f"{name}.mp4", lambda _, c=colour: flat(c), frames=32)  # type: ignore[misc]
        for name, colour in (("red", RED), ("green", GREEN), ("blue", BLUE))
    }
    mixed = render(folder / "mixed.mp4", lambda index: flat(GREEN if index < 16 else RED), frames=32)
    return {**plain, "mixed": mixed}


def test_a_seed_is_its_segment_alone(clips: dict[str, Path]) -> None:
    encoder = HashEncoder()
    seeds = [
        SeedSegment(clips["mixed"], "arson", 2.0, 4.0),
        SeedSegment(clips["red"], "arson", 0.0, 4.0),
        SeedSegment(clips["blue"], "drug_abuse", 0.0, 4.0),
    ]
    bank = embed_seeds(encoder, seeds, frames=4, short_side=32)
    assert {issue: vectors.shape for issue, vectors in bank.items()} == {
        "arson": (8, encoder.dim),
        "drug_abuse": (4, encoder.dim),
    }
    # Nothing of the two green seconds before it: all eight frames are red.
    assert (bank["arson"] @ bank["arson"].T).min() > 0.99
    assert (bank["arson"] @ bank["drug_abuse"].T).max() < 0.5


def test_similarities_are_those_of_the_best_seed_frame_by_frame(clips: dict[str, Path], console: Console) -> None:
    encoder = HashEncoder()
    seeds = [SeedSegment(clips[name], issue, 0.0, 4.0) for name, issue in (("blue", "arson"), ("red", "arson"))]
    bank = embed_seeds(encoder, [*seeds, SeedSegment(clips["green"], "drug_abuse", 0.0, 4.0)], frames=2, short_side=32)
    videos = [labelled(clips[name], "other") for name in ("mixed", "blue")]
    mixed, blue = frame_similarities(encoder, bank, videos, console, short_side=32)
    assert mixed["arson"].shape == mixed["drug_abuse"].shape == (8,)
    assert mixed["arson"].dtype == np.float64
    assert (mixed["drug_abuse"][:4] > 0.99).all()
    assert (mixed["arson"][4:] > 0.99).all()
    assert (mixed["arson"][:4] < 0.5).all()
    assert (blue["arson"] > 0.99).all()


def test_similarities_of_several_kinds_are_those_of_each_kind_alone(clips: dict[str, Path], console: Console) -> None:
    encoder = HashEncoder()
    banks = {
        name: embed_seeds(encoder, [SeedSegment(clips[name], "arson", 0.0, 4.0)], frames=2, short_side=32)
        for name in ("red", "green")
    }
    videos = [labelled(clips[name], "other") for name in ("mixed", "blue")]
    found = similarities_by_kind(
        encoder, {"golden": banks["red"], "negative": banks["green"]}, videos, console, short_side=32
    )
    assert set(found) == {"golden", "negative"}
    pairs: tuple[tuple[SeedKind, str], ...] = (("golden", "red"), ("negative", "green"))
    for kind, name in pairs:
        alone = frame_similarities(encoder, banks[name], videos, console, short_side=32)
        for row, other in zip(found[kind], alone, strict=True):
            assert row.keys() == other.keys() == {"arson"}
            assert np.array_equal(row["arson"], other["arson"])
