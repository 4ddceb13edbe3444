"""Data sets as they are read: what is broken is told with file and line; held-out videos are never trained on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from offline.finetune.data import Sample, hold_out, read_samples
from offline.finetune.recipe import PARTS
from offline.manifest import ManifestError
from tests.integration.offline.finetune.toy_sets import read_lines, write_lines

VIDEOS = 9


@pytest.fixture
def copied(toy_sets: Path, tmp_path: Path) -> Path:
    """The toy sets in a folder of the test's own; the videos stay where they are."""
    for part in PARTS:
        lines = read_lines(toy_sets / f"{part}.jsonl")
        write_lines(tmp_path / f"{part}.jsonl", [{**each, "video": str(toy_sets / each["video"])} for each in lines])
    return tmp_path


def changed(folder: Path, part: str, line: int, **change: Any) -> None:
    lines = read_lines(folder / f"{part}.jsonl")
    lines[line - 1] = {**lines[line - 1], **change}
    write_lines(folder / f"{part}.jsonl", lines)


def test_samples_are_read_in_order(toy_sets: Path) -> None:
    samples = read_samples(toy_sets)
    assert [sum(each.part == part for each in samples) for part in PARTS] == [VIDEOS, VIDEOS, 2 * VIDEOS]
    first = samples[0]
    assert first.place == f"{toy_sets / 'd1.jsonl'}:1"
    assert first.video == toy_sets / "videos/0.mp4"
    assert (first.prompt, first.answer) == ("Is it red? Answer Yes or No.", "Yes")
    assert {each.part for each in read_samples(toy_sets, ("d3",))} == {"d3"}


@pytest.mark.parametrize(
    ("part", "change", "told"),
    [
        ("d1", {"answer": "  "}, "d1.jsonl:2: answer: "),
        ("d2", {"prompt": None}, "d2.jsonl:2: prompt: "),
        ("d2", {"video": "no/such.mp4"}, "d2.jsonl:2: video: there is no file "),
        ("d3", {"answer": "Perhaps"}, "d3.jsonl:2: answer: 'Perhaps' is neither Yes nor No"),
        ("d3", {"answer": "yes"}, "d3.jsonl:2: answer: 'yes' is neither Yes nor No"),
        ("d3", {"dataset": "d1"}, "d3.jsonl:2: dataset: it is 'd1' in the file of 'd3'"),
        ("d3", {"dataset": "d4"}, "d3.jsonl:2: dataset: "),
    ],
)
def test_a_broken_line_is_named(copied: Path, part: str, change: dict[str, Any], told: str) -> None:
    changed(copied, part, 2, **change)
    with pytest.raises(ManifestError) as raised:
        read_samples(copied)
    (problem,) = raised.value.problems
    assert told in problem


def test_all_broken_lines_are_told_at_once(copied: Path) -> None:
    with (copied / "d1.jsonl").open("a") as file:
        file.write('{"id": \n[]\n')
    changed(copied, "d3", 4, answer="")
    with pytest.raises(ManifestError) as raised:
        read_samples(copied)
    places = [problem.split(": ")[0].rsplit("/", 1)[-1] for problem in raised.value.problems]
    assert places == [f"d1.jsonl:{VIDEOS + 1}", f"d1.jsonl:{VIDEOS + 2}", "d3.jsonl:4"]


@pytest.mark.parametrize("content", [None, "\n"])
def test_a_set_that_is_missing_or_empty_is_named(copied: Path, content: str | None) -> None:
    (copied / "d2.jsonl").unlink()
    if content is not None:
        (copied / "d2.jsonl").write_text(content)
    with pytest.raises(ManifestError, match=r"d2\.jsonl: (it cannot be read|there are no samples)"):
        read_samples(copied)


def test_held_out_are_whole_videos_of_both_sorts(samples: list[Sample]) -> None:
    trained, held = hold_out(samples, 0.3)
    assert len(trained) + len(held) == len(samples)
    assert not {each.video for each in trained} & {each.video for each in held}
    assert {each.part for each in held} == set(PARTS)
    assert {each.answer for each in held if each.part == "d3"} == {"Yes", "No"}
    assert len({each.video for each in held}) == 1 + 2
    # Neither the order of lines nor the place of the folder matters.
    moved = [replace(each, video=Path("elsewhere") / each.name) for each in samples[::-1]]
    assert {each.name for each in hold_out(moved, 0.3)[1]} == {each.name for each in held}


def test_too_few_videos_are_refused(samples: list[Sample]) -> None:
    with pytest.raises(ValueError, match="2 videos are too few"):
        hold_out([each for each in samples if each.video.stem in {"0", "1"}], 0.3)


def test_unknown_fields_are_left_alone(copied: Path) -> None:
    changed(copied, "d1", 1, weight=3, note={"by": "hand"})
    assert json.loads((copied / "d1.jsonl").read_text().splitlines()[0])["weight"] == 3
    assert len(read_samples(copied)) == 4 * VIDEOS


def test_one_video_under_two_names_is_one(toy_sets: Path, tmp_path: Path) -> None:
    lines = read_lines(toy_sets / "d3.jsonl")
    for line in lines[::2]:
        line["video"] = f"videos/../{line['video']}"
    write_lines(tmp_path / "d3.jsonl", lines)
    (tmp_path / "videos").symlink_to(toy_sets / "videos")
    assert len({each.name for each in read_samples(tmp_path, ("d3",))}) == VIDEOS
