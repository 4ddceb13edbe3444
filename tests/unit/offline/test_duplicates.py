"""What counts as the same video, and that hostile files are told instead of ending the audit."""

import os
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from offline.duplicates import (
    FRAMES,
    Looked,
    components,
    frame_hashes,
    look,
    look_at_all,
    near_groups,
    same_bytes,
    same_group,
    same_look,
)
from offline.manifest import Labelled
from tests.media_factory import flat, render


def scribble(seed: int, index: int, width: int = 96, height: int = 72) -> np.ndarray:
    """A frame with large patches that drift with `index`."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return np.roll(np.kron(coarse, np.ones((height // 6, width // 8, 1), dtype=np.uint8)), index, axis=1)


def row(file: Path, **fields: object) -> Labelled:
    return Labelled.model_validate({"path": file.name, "id": file.stem, "file": file, **fields})


def test_the_same_video_coded_again_looks_the_same_and_another_does_not(tmp_path: Path) -> None:
    first = render(tmp_path / "a.mp4", lambda i: scribble(1, i), frames=16)
    smaller = render(tmp_path / "b.webm", lambda i: scribble(1, i)[::2, ::2].copy(), frames=16, codec="libvpx-vp9")
    other = render(tmp_path / "c.mp4", lambda i: scribble(2, i), frames=16)
    looked = [look(row(path)) for path in (first, smaller, other, first)]
    assert [each.error for each in looked] == [""] * 4
    assert looked[0].duration_s == pytest.approx(2.0, abs=0.01)
    assert same_bytes(looked) == [[0, 3]]
    assert same_look(looked) == [[0, 1]]


def test_plain_videos_are_compared_by_bytes_alone(tmp_path: Path) -> None:
    black = look(row(render(tmp_path / "a.mp4", lambda _: flat((0, 0, 0)), frames=8)))
    white = look(row(render(tmp_path / "b.mp4", lambda _: flat((250, 250, 250)), frames=8)))
    assert (black.error, black.hashes, white.hashes) == ("", (), ())
    assert same_look([black, white]) == []


def test_short_videos_have_as_many_hashes_as_long_ones() -> None:
    one, two = frame_hashes([scribble(1, 0)]), frame_hashes([scribble(1, 0), scribble(2, 0)])
    assert len(one) == len(two) == FRAMES
    assert len(set(one)) == 1
    assert two[0] == two[1] == one[0] != two[2] == two[3]


def test_files_that_are_no_videos_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    found = look(row(tmp_path / "a.mp4"))
    assert found.error.startswith("UnsupportedMedia")
    assert found.sha256
    assert look(row(tmp_path / "missing.mp4")).error.startswith("FileNotFoundError")


class _Crash(Labelled):
    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (3,)


def test_a_video_that_ends_its_process_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    good = render(tmp_path / "a.mp4", lambda i: scribble(1, i), frames=8)
    bad = _Crash(path="b.mp4", id="b", file=good)
    found = look_at_all([row(good), bad, row(good)], Console(quiet=True), workers=1)
    assert [each.error for each in found] == ["", "the decoder crashed", ""]


def test_near_is_a_number_of_bits_chained_and_independent_of_blocks() -> None:
    def bits(count: int) -> list[int]:
        return [(1 << count) - 1] * FRAMES

    hashes = np.array([bits(0), bits(4), bits(8), bits(13), bits(40), bits(40)], dtype=np.uint64)
    assert near_groups(hashes) == [[0, 1, 2], [4, 5]]
    assert near_groups(hashes, cells=1) == near_groups(hashes)
    # The average counts: one frame may differ more.
    assert near_groups(np.array([[0, 0, 0, 0], [2**16 - 1, 0, 0, 0]], dtype=np.uint64)) == [[0, 1]]
    assert near_groups(np.array([[0, 0, 0, 0], [2**17 - 1, 0, 0, 0]], dtype=np.uint64)) == []
    assert near_groups(np.empty((0, FRAMES), dtype=np.uint64)) == []


def test_groups_join_in_chains() -> None:
    label = components(5, [[0, 1], [1, 2], [4]])
    assert label[0] == label[1] == label[2]
    assert len(set(label)) == 3
    assert len(set(components(3, []))) == 3


def test_broken_files_and_videos_without_a_group_are_alike_to_nothing() -> None:
    assert same_bytes([Looked("", error="x"), Looked("", error="x")]) == []
    rows = [row(Path(name), group=group) for name, group in (("a", "u"), ("b", ""), ("c", ""), ("d", "u"))]
    assert same_group(rows) == [[0, 3]]
