"""What a manifest teaches the router."""

from pathlib import Path

import numpy as np
import pytest

from offline.manifest import Labelled, LabelledShot
from offline.router.segments import Drawer, held_out, multi_hot, near_misses, segments_of

KNIFE, QUIET = LabelledShot(start_s=0, end_s=2, objects=("hocho", "child")), LabelledShot(start_s=2, end_s=3)


def row(name: str, **fields: object) -> Labelled:
    return Labelled(**{"path": f"{name}.mp4", "id": name, "kind": "other", "file": Path(f"{name}.mp4")} | fields)


def test_shots_are_labelled_by_what_is_in_them() -> None:
    cloud = LabelledShot(start_s=2, end_s=4, objects=("cloud", "old_key"))
    guilty, clean = segments_of([row("v", issues=("weapon_threat",), shots=(KNIFE, cloud))], frames=3)
    assert (guilty.issues, clean.issues) == ({"weapon_threat"}, frozenset())
    assert (guilty.clip.start_s, guilty.clip.end_s, guilty.clip.frames) == (0, 2, 3)
    assert (guilty.caption, clean.caption) == ("a picture of hocho and child", "a picture of cloud and old key")


def test_a_video_is_whole_where_its_shots_do_not_tell() -> None:
    (whole,) = segments_of([row("v", issues=("spam",), shots=(KNIFE, QUIET), caption="an advert")], frames=2)
    assert (whole.issues, whole.clip.start_s, whole.clip.end_s, whole.caption) == ({"spam"}, 0.0, None, "an advert")


def test_shots_of_ones_own_say_what_they_violate() -> None:
    shots = (LabelledShot(start_s=0, end_s=2, issues=("spam",)), QUIET)
    guilty, clean = segments_of([row("v", issues=("spam",), shots=shots)], frames=2)
    assert (guilty.issues, clean.issues) == ({"spam"}, frozenset())
    assert (guilty.clip.end_s, clean.clip.start_s) == (2, 2)


def test_look_alikes_say_of_what() -> None:
    rows = [
        row("v", issues=("spam",)),
        row("w", issues=("arson",)),
        row("a", look_alike_of="spam", look_alike="own_shop", shots=(QUIET,)),
        row("b", kind="look_alike"),
        row("c", shots=(QUIET,)),
    ]
    assert [set(s.near) for s in segments_of(rows, frames=2)] == [set(), set(), {"spam"}, {"spam", "arson"}, set()]


def test_all_segments_of_a_video_are_held_out_or_none() -> None:
    shots = (QUIET, LabelledShot(start_s=3, end_s=4))
    segments = segments_of([row(f"video {i}", shots=shots) for i in range(400)], frames=1)
    kept = held_out(segments, 0.2).reshape(400, 2)
    assert (kept[:, 0] == kept[:, 1]).all()
    assert 0.14 < kept.mean() < 0.26
    assert not held_out(segments, 0.0).any()


def drawer(**near: int) -> Drawer:
    issues = np.zeros((100, 2), dtype=bool)
    issues[:9, 0] = issues[9, 1] = True
    resembles = np.zeros((100, 2), dtype=bool)
    resembles[50 : 50 + near.get("near", 5), 0] = True
    return Drawer(issues, resembles, seed=1)


def test_a_batch_holds_each_issue_as_often_and_look_alikes() -> None:
    chosen = drawer().draw(3, 32)
    assert [int((chosen < 9).sum()), int((chosen == 9).sum())] == [8, 8]
    assert int(((chosen >= 50) & (chosen < 55)).sum()) == 8
    assert len(chosen) == 32
    assert (drawer().draw(3, 32) == chosen).all()
    assert (drawer().draw(4, 32) != chosen).any()


@pytest.mark.parametrize("near", [0, 50])
def test_a_batch_without_look_alikes_or_of_look_alikes_is_full_too(near: int) -> None:
    source = drawer(near=near)
    assert len(source.draw(0, 31)) == 31


def test_near_misses_are_found_where_none_are_told() -> None:
    vectors = np.eye(6, 2, dtype=np.float32)
    vectors[2:] = [[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [-1, 0]]
    issues = multi_hot([frozenset("a"), frozenset("b"), *[frozenset[str]()] * 4], "ab")
    told = multi_hot([*[frozenset[str]()] * 5, frozenset("b")], "ab")
    found = near_misses(vectors, issues, told, share=0.25)
    assert found[:, 0].nonzero()[0].tolist() == [2]
    assert found[:, 1].nonzero()[0].tolist() == [5], "what the manifest says stands"
    assert not told[:, 0].any(), "the argument is left alone"
