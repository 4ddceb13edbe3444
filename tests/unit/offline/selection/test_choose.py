"""Choosing seeds: near-duplicates, clusters, the ways to choose, and the manifest."""

from pathlib import Path

import numpy as np
import pytest

from offline.router.segments import Segment
from offline.router.views import Clip
from offline.selection.choose import METHODS, choose, distinct, farthest_first
from offline.selection.clusters import nearest_to_centroids, number_of_clusters, silhouette_number
from offline.selection.pool import Pool
from offline.selection.select import select_seeds, write_seeds
from winnow.seeds import read_manifest as read_seed_manifest


def unit(degrees: list[float]) -> np.ndarray:
    """Unit vectors in the plane."""
    angle = np.radians(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


CLOUDS = unit([0, 1, 2, 3, 4, 40, 41, 42, 90, 91, 92, 93])
"""Of five, three and four."""


def test_centroid_proximity_takes_the_middle_of_each_cluster_the_largest_first() -> None:
    chosen = choose("centroid-proximity", CLOUDS, 3)
    assert chosen[0] == 2
    assert chosen[1] in {9, 10}
    assert chosen[2] == 6


def test_a_seed_is_a_segment_of_its_own_cluster() -> None:
    around = unit([0, 80, 40])  # the centroid of the first two lies at the third
    assert set(nearest_to_centroids(around, np.array([0, 0, 1])).tolist()) <= {0, 1, 2}
    assert nearest_to_centroids(around, np.array([0, 0, 1]))[1] == 2
    assert nearest_to_centroids(around, np.array([0, 0, 1]))[0] in {0, 1}


def test_farthest_first_goes_to_the_edges() -> None:
    assert farthest_first(CLOUDS, 3).tolist()[1:] in ([11, 0], [0, 11])
    assert farthest_first(CLOUDS, 3)[0] in {5, 6, 7}, "it starts in the middle"


def test_farthest_first_never_takes_a_segment_twice() -> None:
    same = unit([10, 10, 10, 10])
    assert sorted(farthest_first(same, 4).tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("method", METHODS)
def test_choices_are_different_segments_and_the_same_again(method: str) -> None:
    first = choose(method, CLOUDS, 5, seed=3)  # type: ignore[arg-type]
    assert len(set(first.tolist())) == len(first) == (12 if method == "all" else 5)
    assert first.tolist() == choose(method, CLOUDS, 5, seed=3).tolist()  # type: ignore[arg-type]
    assert choose(method, CLOUDS, 50).tolist() == list(range(12))  # type: ignore[arg-type]


def test_a_random_choice_depends_on_the_seed() -> None:
    assert len({tuple(choose("random", CLOUDS, 5, seed=seed).tolist()) for seed in range(10)}) > 1


def test_nothing_cannot_be_chosen_from() -> None:
    with pytest.raises(ValueError, match="at least one segment"):
        choose("all", CLOUDS[:0], 1)
    with pytest.raises(ValueError, match="at least one is asked for"):
        choose("random", CLOUDS, 0)


def test_equal_segments_make_fewer_clusters_and_no_warning() -> None:
    assert len(choose("centroid-proximity", unit([0, 0, 0, 90]), 3)) == 2


def test_near_duplicates_and_copies_are_dropped() -> None:
    vectors = unit([0, 1, 30, 60])
    assert distinct(vectors, "abcd", threshold=0.999).tolist() == [0, 2, 3]
    assert distinct(vectors, "abca", threshold=1.0).tolist() == [0, 1, 2], "copies alone"
    assert distinct(vectors, "abcd", threshold=0.8).tolist() == [0, 3]


def test_the_number_of_seeds_is_the_smallest_with_most_of_what_more_can_give() -> None:
    rng = np.random.default_rng(0)
    clouds = unit([centre + float(rng.normal(0, 0.3)) for centre in (0, 50, 100, 150) for _ in range(30)])
    found = number_of_clusters(clouds, 40, seed=0)
    assert found.count == 4
    assert silhouette_number(clouds, 40, seed=0) == 4
    assert found.scores[4] > found.scores[2] + 0.01
    assert max(found.scores) == 40


@pytest.mark.parametrize(
    ("degrees", "most", "number"),
    [([0], 9, 1), ([0, 90], 9, 2), ([7, 7, 7, 7], 9, 1), ([0, 0, 90, 90], 9, 2), ([0, 45, 90], 1, 1)],
)
def test_a_silhouette_needs_something_to_separate(degrees: list[float], most: int, number: int) -> None:
    assert silhouette_number(unit(degrees), most, seed=0) == number


def test_the_number_of_seeds_is_bounded() -> None:
    assert number_of_clusters(CLOUDS, 2, seed=0).count <= 2
    assert number_of_clusters(CLOUDS[:1], 9, seed=0).count == 1
    assert max(number_of_clusters(CLOUDS, 99, seed=0).scores) == 8, "of 12, a third is held out"


def pool_of(folder: Path) -> Pool:
    """Segments of two issues; the last one violates both; numbers 1 and 4 have the same bytes."""
    issues = ["arson", "arson", "arson", "drug_abuse", "arson", "both"]
    segments = []
    for number, issue in enumerate(issues):
        (folder / f"{number}.mp4").write_bytes(b"video %d" % number)
        own = frozenset({"arson", "drug_abuse"} if issue == "both" else {issue})
        end = None if number == 2 else 1.5
        segments.append(Segment(f"v{number}", Clip(folder / f"{number}.mp4", 0.5, end, 4), own, frozenset(), ""))
    hashes = ["a" * 64, "b" * 64, "c" * 64, "d" * 64, "b" * 64, "e" * 64]
    copies = tuple((each, 0.5, segment.clip.end_s) for each, segment in zip(hashes, segments, strict=True))
    return Pool(tuple(segments), unit([0, 20, 50, 0, 70, 90]), copies)


def test_seeds_are_chosen_for_every_issue_from_distinct_segments(tmp_path: Path) -> None:
    chosen = {each.issue: each for each in select_seeds(pool_of(tmp_path), "all", count=None)}
    assert list(chosen) == ["arson", "drug_abuse"]
    assert (chosen["arson"].pool, chosen["arson"].distinct) == (5, 4)
    assert [segment.video for segment, _ in chosen["arson"].seeds] == ["v0", "v1", "v2", "v5"]
    assert [segment.video for segment, _ in chosen["drug_abuse"].seeds] == ["v3", "v5"]
    assert [each.issue for each in select_seeds(pool_of(tmp_path), "all", count=None, issues=["arson"])] == ["arson"]
    assert chosen["drug_abuse"].nearest == pytest.approx(1.0)


def test_a_given_count_is_kept(tmp_path: Path) -> None:
    chosen = select_seeds(pool_of(tmp_path), "centroid-proximity", count=2)
    assert [(each.issue, len(each.seeds), each.sweep) for each in chosen] == [
        ("arson", 2, None),
        ("drug_abuse", 2, None),
    ]


@pytest.mark.parametrize("copy", [False, True])
def test_the_manifest_is_one_that_the_bank_reads(tmp_path: Path, copy: bool) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    out = tmp_path / "deep" / "seeds"
    path = write_seeds(
        select_seeds(pool_of(videos), "centroid-proximity", count=9), "centroid-proximity", out, copy=copy
    )
    rows = read_seed_manifest(path.parent)
    assert len(rows) == 6
    assert {row.kind for row in rows} == {"centroid"}
    paths = [Path(str(row.path)) for row in rows]
    assert all((out / path).read_bytes().startswith(b"video") for path in paths)
    assert sum(row.end_s is None for row in rows) == 1
    assert {row.start_s for row in rows} == {0.5}
    assert all(path.parent == Path() for path in paths) is copy


def test_what_could_not_be_written_whole_gets_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos, out = tmp_path / "videos", tmp_path / "seeds"
    videos.mkdir()
    chosen = select_seeds(pool_of(videos), "all", count=None)
    whole = write_seeds(chosen, "all", out, copy=False).read_bytes()

    def cut_off(source: Path, to: Path) -> None:
        to.write_bytes(source.read_bytes()[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("offline.selection.select.shutil.copyfile", cut_off)
    with pytest.raises(OSError, match="No space left"):
        write_seeds(chosen, "all", out, copy=True)
    monkeypatch.undo()
    assert list(out.glob("*.mp4")) == []
    write_seeds(chosen, "all", out, copy=True)
    assert {path.read_bytes() for path in out.glob("*.mp4")} == {b"video %d" % number for number in (0, 1, 2, 3, 5)}
    assert list(out.glob("*.part")) == []

    def full(path: Path, text: str, **_: str) -> None:
        path.write_bytes(text.encode()[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_seeds(chosen[:1], "all", out, copy=False)
    assert (out / "manifest.jsonl").read_bytes().count(b"\n") == whole.count(b"\n")
