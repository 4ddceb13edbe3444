"""Manifests of one's own videos: both formats, what is filled in, and errors that name the line."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from offline.manifest import Labelled, ManifestError, read_manifest, traffic_weights, write_manifest

ISSUES = {"arson", "drug_abuse"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def jsonl(folder: Path, *rows: Any) -> Path:
    path = folder / "videos.jsonl"
    path.write_text(
        "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n", encoding="utf-8"
    )
    return path


def problems(path: Path, **options: Any) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        read_manifest(path, **options)
    return [each.removeprefix(f"{path}:") for each in caught.value.problems]


def test_rows_of_jsonl(folder: Path) -> None:
    rows = read_manifest(
        jsonl(
            folder,
            {"path": "a.mp4", "issues": ["arson"], "title": "Fire", "split": "test", "kind": "violation", "own": 1},
            "",
            {"path": "b.mp4", "id": "second", "weight": 3, "shots": [{"start_s": 0, "end_s": 2, "objects": ["cat"]}]},
        ),
        issues=ISSUES,
    )
    assert [(row.id, row.kind, row.truth, row.split) for row in rows] == [
        ("a.mp4", "violation", {"arson"}, "test"),
        ("second", "other", frozenset(), ""),
    ]
    assert [row.file for row in rows] == [folder / "a.mp4", folder / "b.mp4"]
    assert rows[1].shots[0].objects == ("cat",)


def test_rows_of_csv_as_spreadsheets_write_them(folder: Path) -> None:
    path = folder / "videos.csv"
    text = 'path,issues,title,weight\na.mp4,arson; drug_abuse,"Fire, and more",2.5\nb.mp4,,,\n'
    path.write_text(text.replace("\n", "\r\n"), encoding="utf-8-sig")
    first, second = read_manifest(path, issues=ISSUES)
    assert (first.truth, first.title, first.weight) == ({"arson", "drug_abuse"}, "Fire, and more", 2.5)
    assert (second.truth, second.weight, second.kind) == (frozenset(), None, "other")


def test_material_for_the_data_sets_in_both_formats(folder: Path) -> None:
    asked = [{"question": " Is there a dog? ", "answer": "Yes"}]
    shots = [{"start_s": 0, "end_s": 1.5, "objects": ["dog"]}]
    rows = {"path": "a.mp4", "caption": "A dog.", "questions": asked, "shots": shots, "group": "u1", "variant": "vp9"}
    (first,) = read_manifest(jsonl(folder, rows))
    path = folder / "videos.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(rows)
        writer.writerow(json.dumps(value) if isinstance(value, list) else value for value in rows.values())
    (second,) = read_manifest(path)
    assert first == second
    assert (first.caption, first.group, first.variant) == ("A dog.", "u1", "vp9")
    assert [(each.question, each.answer) for each in first.questions] == [("Is there a dog?", "Yes")]
    assert first.shots[0].end_s == 1.5


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("questions", [{"question": "Is there a dog?"}], "questions.0.answer: Field required"),
        ("questions", [{"question": "", "answer": "No"}], "questions.0.question: String should have at least 1"),
        ("questions", "Is there a dog?", "questions: Value error, the cell holds no JSON"),
        ("shots", [{"start_s": 2, "end_s": 1}], "shots.0: Value error, a shot ends after it starts"),
        (
            "shots",
            [{"start_s": 0, "end_s": 1, "issues": ["arson"]}],
            "the line: Value error, a shot violates arson, and",
        ),
        ("caption", 5, "caption: Input should be a valid string"),
        ("path", "x" * 300, "path: there is no file"),
    ],
)
def test_material_that_cannot_be_used(folder: Path, field: str, value: Any, reason: str) -> None:
    (found,) = problems(jsonl(folder, {"path": "a.mp4", field: value}))
    assert found.startswith(f"1: {reason}")


def test_a_title_may_hold_any_character(folder: Path) -> None:
    title = "one\u2028two\x85three\x1cfour"
    rows = read_manifest(jsonl(folder, {"path": "a.mp4", "title": title}))
    write_manifest(rows, folder / "again.jsonl")
    assert [row.title for row in read_manifest(folder / "again.jsonl")] == [title]


def test_a_video_spelled_differently_is_the_same(folder: Path) -> None:
    (found,) = problems(jsonl(folder, {"path": "a.mp4"}, {"path": "./a.mp4"}))
    assert found == "2: the video a.mp4 stands in line 1 already"


def test_every_problem_is_told_with_its_line(folder: Path) -> None:
    path = jsonl(
        folder,
        {"path": "a.mp4", "issues": ["arsen"]},
        "{not json",
        {"issues": ["arson"]},
        {"path": "missing.mp4"},
        {"path": "b.mp4", "weight": -1},
        {"path": "c.mp4", "id": "a.mp4"},
        {"path": "a.mp4", "id": "other"},
    )
    found = problems(path, issues=ISSUES)
    assert found[0] == "1: issues: 'arsen' is no issue of the policy; did you mean 'arson'?"
    assert found[1].startswith("2: no JSON")
    assert found[2] == "3: path: Field required"
    assert found[3].startswith("4: path: there is no file")
    assert found[4].startswith("5: weight: Input should be greater than 0")
    assert found[5:] == [
        "6: the id a.mp4 stands in line 1 already",
        "7: the video a.mp4 stands in line 1 already",
    ]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("file,issues\na.mp4,\n", 1, "one of them is `path`"),
        ("path,issues\na.mp4,arson,more\n", 2, "another number of cells"),
        ("path,issues\na.mp4\n", 2, "another number of cells"),
        ('path,issues\na.mp4,"arson\n', 2, "no CSV"),
    ],
)
def test_a_csv_that_is_none(folder: Path, text: str, line: int, reason: str) -> None:
    path = folder / "videos.csv"
    path.write_text(text, encoding="utf-8")
    (found,) = problems(path)
    assert found.startswith(f"{line}: ")
    assert reason in found


def test_a_file_that_is_none(folder: Path) -> None:
    for name, content in (
        ("empty.jsonl", b""),
        ("videos.txt", b"a.mp4"),
        ("bytes.jsonl", b"\xff\xfe"),
        ("none.csv", None),
    ):
        path = folder / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ManifestError, match=name):
            read_manifest(path)


def test_a_long_list_of_problems_is_cut(folder: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        read_manifest(jsonl(folder, *({"path": f"{number}.mp4"} for number in range(50))))
    assert len(caught.value.problems) == 50
    assert str(caught.value).splitlines()[-1] == "and 30 more problems"


def test_splits_are_chosen(folder: Path) -> None:
    path = jsonl(folder, {"path": "a.mp4", "split": "train"}, {"path": "b.mp4", "split": "test"})
    assert [row.id for row in read_manifest(path, splits=["test"])] == ["b.mp4"]
    (found,) = problems(path, splits=["calibration"])
    assert "there are ['test', 'train']" in found


def rows_of(*kinds: str, weights: tuple[float | None, ...] = ()) -> list[Labelled]:
    given = weights or (None,) * len(kinds)
    return [
        Labelled(path=f"{i}", id=f"{i}", kind=kind, weight=weight, file=Path(f"{i}"))
        for i, (kind, weight) in enumerate(zip(kinds, given, strict=True))
    ]


def test_weights_of_a_mix_of_the_rows_and_of_nothing() -> None:
    rows = rows_of("violation", "other", "other")
    assert traffic_weights(rows, {"violation": 1, "other": 99}) == pytest.approx([0.01, 0.495, 0.495])
    assert traffic_weights(rows) == pytest.approx([1 / 3] * 3)
    assert traffic_weights(rows_of("a", "b", weights=(1, 3))) == pytest.approx([0.25, 0.75])
    with pytest.raises(ValueError, match="the mix is of"):
        traffic_weights(rows, {"violation": 1})
    with pytest.raises(ValueError, match="some have none"):
        traffic_weights(rows_of("a", "b", weights=(1, None)))


def test_what_is_written_is_read_again(folder: Path) -> None:
    rows = read_manifest(jsonl(folder, {"path": "a.mp4", "issues": ["arson"], "title": "Ü"}, {"path": "b.mp4"}))
    elsewhere = folder / "deep" / "er" / "subset.jsonl"
    write_manifest(rows, elsewhere)
    again = read_manifest(elsewhere)
    assert [row.file.resolve() for row in again] == [row.file.resolve() for row in rows]
    assert [(row.id, row.truth, row.title) for row in again] == [(row.id, row.truth, row.title) for row in rows]
