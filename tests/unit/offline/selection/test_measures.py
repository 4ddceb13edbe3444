"""What the reports measure: risks and recall of a bank, negatives, and a violation in a single frame."""

from pathlib import Path

import numpy as np
import pytest

from offline.demo_world.scene import Pools
from offline.demo_world.splits import scene_at
from offline.demo_world.taxonomy import violated
from offline.manifest import Labelled, LabelledShot
from offline.selection.banks import IDS, MARGIN, WEIGHT, Traffic, fit, recalls, risks, similarities
from offline.selection.negatives import candidates, pass_rate_at_recall
from offline.selection.one_frame import FRAMES, cut, frames_of_violation
from router_svc.settings import Settings
from services.media import sample_times


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
