"""Choosing seeds: near-duplicates, clusters, the ways to choose, the manifest, and the measures of the reports."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import offline
from offline.demo_world.scene import Pools
from offline.demo_world.splits import Counts, scene_at
from offline.demo_world.taxonomy import ISSUES, violated
from offline.manifest import Labelled, LabelledShot
from offline.router.segments import Segment
from offline.router.views import Clip
from offline.selection.banks import IDS, MARGIN, WEIGHT, Traffic, fit, recalls, risks, similarities
from offline.selection.choose import METHODS, choose, distinct, farthest_first
from offline.selection.clusters import nearest_to_centroids, number_of_clusters, silhouette_number
from offline.selection.compare_seeds import Found, InSpace, SeedComparison
from offline.selection.negatives import candidates, pass_rate_at_recall
from offline.selection.one_frame import FRAMES, cut, frames_of_violation
from offline.selection.pool import Pool
from offline.selection.seeds_report import markdown, plot
from offline.selection.select import select_seeds, write_seeds
from offline.statistics import Estimate
from router_svc.settings import Settings
from services.media import sample_times
from winnow.seeds import read_manifest as read_seed_manifest

ROOT = Path(offline.__path__[0]).parent
RESULTS = ROOT / "docs" / "results"


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


def labelled(number: int, kind: str, issue: str | None = None) -> Labelled:
    return Labelled(
        path=f"{number}.mp4", id=str(number), kind=kind, issues=(issue,) if issue else (), file=Path(f"{number}.mp4")
    )


def in_space(axis: int, sine: float = 0.0) -> list[float]:
    vector = [0.0] * 4
    vector[axis], vector[3] = (1 - sine**2) ** 0.5, sine
    return vector


TRAFFIC = Traffic(
    [
        labelled(0, "violation", IDS[0]),
        labelled(1, "violation", IDS[1]),
        labelled(2, "look_alike"),
        labelled(3, "other"),
    ],
    np.array(
        [in_space(2), in_space(0), in_space(1, 0.3), in_space(0, 0.8), in_space(2)], dtype=np.float32
    ),
    np.array([0, 0, 1, 2, 3]),
)  # fmt: skip
GOLDEN = {IDS[0]: np.array([in_space(0)], np.float32), IDS[1]: np.array([in_space(1)], np.float32)}


def test_risks_are_those_of_the_best_frame_and_an_issue_without_seeds_has_none() -> None:
    clean = TRAFFIC.frames[3:]
    background = fit({"golden": GOLDEN}, clean, "abc")
    risk = risks({"golden": GOLDEN}, TRAFFIC, background)
    assert risk[0, 0] == 1.0, "one of its two frames is the seed"
    assert risk[1, 1] > risk[2, 0] > risk[3, 0]
    assert (risk[:, 2:] == 0).all()
    assert similarities(TRAFFIC.frames, {})[0, 0] == -1.0


def test_the_rule_is_measured_with_the_router_s_defaults() -> None:
    fields = Settings.model_fields
    assert (fields["negative_weight"].default, fields["negative_margin"].default) == (WEIGHT, MARGIN)


def test_negatives_speak_against_their_own_issue() -> None:
    clean = TRAFFIC.frames[3:]
    against = {IDS[0]: np.array([in_space(0, 0.8)], np.float32)}
    kinds = {"golden": GOLDEN, "negative": against}
    background = fit(kinds, clean, "abc")  # type: ignore[arg-type]
    without = risks({"golden": GOLDEN}, TRAFFIC, background)
    with_them = risks(kinds, TRAFFIC, background, weight=1.0, margin=0.1)  # type: ignore[arg-type]
    assert with_them[2, 0] < without[2, 0]
    assert (with_them[:, 1] == without[:, 1]).all()


def test_recall_is_of_the_mean_of_the_draws() -> None:
    best = np.zeros((4, len(IDS)))
    best[0, 0] = best[1, 1] = 1.0
    worst = np.zeros((4, len(IDS)))
    worst[3, 0] = 1.0
    both = recalls([best, worst], TRAFFIC, rounds=3)
    assert [each.value for each in both] == [0.5, 0.5, 0.5]
    assert [each.value for each in recalls([best], TRAFFIC, rounds=3)] == [1.0, 1.0, 1.0]
    assert [each.value for each in recalls([best], TRAFFIC, rounds=3, less=[best, worst])] == [0.5, 0.5, 0.5]


def test_the_pass_rate_at_a_recall_counts_what_passes_with_the_violations() -> None:
    score = np.array([0.9, 0.7, 0.8, 0.1])
    own = np.array([0.9, 0.6, -np.inf, -np.inf])
    positive, weight = np.array([True, True, False, False]), np.array([0.1, 0.1, 0.3, 0.5])
    assert pass_rate_at_recall(score, own, positive, weight, 0.5) == pytest.approx(0.1)
    assert pass_rate_at_recall(score, own, positive, weight, 0.6) == pytest.approx(0.5)


def test_the_nearest_look_alikes_are_those_that_resemble_the_golden_seeds() -> None:
    frames = np.array([in_space(0, 0.9), in_space(0, 0.1), in_space(1, 0.9)], np.float32)
    sets = candidates(frames, np.arange(3), [IDS[0], IDS[0], IDS[1]], GOLDEN, 1)
    assert sets["1 nearest"][IDS[0]].tolist() == [frames[1].tolist()]
    assert len(sets["all"][IDS[0]]) == 2
    assert len(sets["all"][IDS[1]]) == 1


def shots(*parts: tuple[float, float, tuple[str, ...]]) -> Labelled:
    told = tuple(LabelledShot(start_s=start, end_s=end, objects=objects) for start, end, objects in parts)
    row = labelled(0, "violation", "arson")
    return row.model_copy(update={"shots": told, "duration_s": parts[-1][1]})


FIRE = ("fire", "house")


def test_frames_of_a_violation_are_counted_in_its_shot() -> None:
    assert frames_of_violation(shots((0, 1, FIRE), (1, 8, ("sun",)))) == 1
    assert frames_of_violation(shots((0, 3, FIRE), (3, 8, ("sun",)))) == 3
    assert frames_of_violation(shots((0, 3, FIRE), (3, 8, FIRE))) == 0, "two shots of it"


def test_a_cut_clip_shows_the_violation_in_one_frame(pools: Pools) -> None:
    made = 0
    for index in range(40):
        scene = scene_at(5, "test", "violation", index, pools)
        row = shots(*((shot.start_s, shot.end_s, tuple(shot.names)) for shot in scene.shots))
        row = row.model_copy(update={"issues": scene.issues})
        window = cut(row)
        if window is None:
            continue
        made += 1
        guilty = next(shot for shot in scene.shots if violated((shot.names,)))
        times = sample_times(window[1], start_s=window[0], end_s=window[1])
        assert len(times) == FRAMES
        assert sum(guilty.start_s <= time < guilty.end_s for time in times) == 1
        assert 0 <= window[0] < window[1] <= scene.duration_s
    assert made > 5


def test_a_video_of_one_shot_cannot_be_cut() -> None:
    assert cut(shots((0, 8, FIRE))) is None


SOME = Estimate(0.5, 0.25, 0.75)
COMPARED = SeedComparison(
    "abc", dict.fromkeys(IDS, 7), 0.99, Counts(3, 2, 1),
    (
        InSpace(
            "served", dict.fromkeys(IDS, 6),
            (
                Found("random", 4, dict.fromkeys(IDS, 4), (SOME,) * 3, (), ((0.4, 0.5, 0.6), (0.6, 0.7, 0.8)), 0.9),
                Found("farthest-first", 4, dict.fromkeys(IDS, 4), (SOME,) * 3, (SOME,) * 3, (), 0.9),
                Found("all", None, dict.fromkeys(IDS, 7), (SOME,) * 3, (), (), 1.0),
            ),
        ),
    ),
)  # fmt: skip


def test_the_report_says_how_it_was_made_and_shows_every_figure(tmp_path: Path) -> None:
    text = markdown(COMPARED, "winnow lab compare-seeds")
    assert "| random | 4 | 0.500 [0.250, 0.750] |" in text
    assert "0.400 to 0.600" in text
    assert "`winnow lab compare-seeds`" in text
    assert "says nothing about real content" in text
    assert "| 50.00 [25.00, 75.00] |" in text
    assert f"leave {6 * len(ISSUES)} of {7 * len(ISSUES)} segments" in text
    assert plot(COMPARED.spaces, tmp_path / "plot.png").stat().st_size > 1000


def test_the_page_repeats_the_reports() -> None:
    page = (ROOT / "docs" / "lab" / "seeds.md").read_text(encoding="utf-8")
    served, plain = (each["found"] for each in json.loads((RESULTS / "selection.json").read_text())["spaces"])
    kinds = json.loads((RESULTS / "kinds.json").read_text())

    def recall(found: list[dict[str, Any]], method: str, asked: int | None) -> str:
        row = next(each for each in found if (each["method"], each["asked"]) == (method, asked))
        return f"{row['recall'][0]['value']:.3f}"

    shown = [recall(served, *row) for row in (("centroid-proximity", 16), ("random", 16), ("all", None))]
    shown += [
        recall(plain, *row)
        for row in (("centroid-proximity", 16), ("random", 16), ("farthest-first", 16), ("all", None))
    ]
    shown += [f"{row['pass_rate'][1]['value']:.2%}"[:-1] for row in kinds["negatives"]["rows"] if row["rule"] is None]
    rules = {(0.5, 0.5): 36, (0.5, 0.75): 38, (1.0, 0.9): 45}
    for row in kinds["reuploads"]["rows"]:
        key = (row["rule"]["weight"], row["rule"]["margin"]) if row["rule"] else None
        if key in rules:
            assert rules[key] == round(100 * row["reuploads"]["value"])
            shown.append(f"{rules[key]} %")
    shown += [f"{each['value']:.3f}" for each in kinds["one_frame"][-1]["by_frame"]]
    for row in kinds["texts"]["rows"]:
        if row["issue"] == "all issues" and row["seeds"] != "golden seeds":
            shown += [f"{each['value']:.3f}" for each in row["among"]]
    assert [each for each in shown if each not in page] == []
    assert len(shown) == 20
