"""Balanced subsets and splits: equal classes, nothing the same twice, nothing torn apart."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from offline.duplicates import Looked
from offline.manifest import Labelled, ManifestError
from offline.subsets import balanced, in_turn, split_rows


def row(name: str, *issues: str, **fields: object) -> Labelled:
    kind = "violation" if issues else "other"
    return Labelled.model_validate(
        {"path": name, "id": name, "file": Path(name), "issues": issues, "kind": kind, **fields}
    )


def seen(*names: str) -> list[Looked]:
    """Equal names are equal files; no two of the others look alike."""
    numbers = {name: index for index, name in enumerate(dict.fromkeys(names))}
    hashes = np.random.default_rng(1).integers(0, 2**63, (len(numbers), 4), dtype=np.uint64)
    return [Looked(name, 3.0, tuple(int(each) for each in hashes[numbers[name]])) for name in names]


def many() -> list[Labelled]:
    rows = [row(f"arson{i}", "arson") for i in range(12)] + [row(f"smoking{i}", "smoking") for i in range(7)]
    rows += [row(f"plain{i}") for i in range(30)] + [row(f"like{i}", kind="look_alike") for i in range(9)]
    return rows


def classes(rows: list[Labelled]) -> Counter[str]:
    return Counter(each.issues[0] if each.issues else each.kind for each in rows)


def test_each_issue_and_clean_videos_have_the_same_number() -> None:
    rows = many()
    looked = seen(*(each.id for each in rows))
    chosen = balanced(rows, looked, per_class=4, seed=1)
    assert classes(chosen) == {"arson": 4, "smoking": 4, "look_alike": 2, "other": 2}
    assert chosen == balanced(rows, looked, per_class=4, seed=1)
    assert chosen != balanced(rows, looked, per_class=4, seed=2)
    assert classes(balanced(rows, looked)) == {"arson": 7, "smoking": 7, "look_alike": 4, "other": 3}
    # A video's place in the manifest does not matter.
    assert {each.id for each in balanced(rows[::-1], looked[::-1], per_class=4, seed=1)} == {each.id for each in chosen}


def test_a_class_that_is_too_small_is_named() -> None:
    rows = many()
    with pytest.raises(ManifestError, match=r"smoking: 7 usable videos; .*at most 7") as caught:
        balanced(rows, seen(*(each.id for each in rows)), per_class=8)
    assert len(caught.value.problems) == 1


def test_duplicates_leaks_and_broken_videos_are_dropped() -> None:
    rows = [
        row("a", "arson", split="train"), row("b", "arson", split="test"), row("c", "arson"), row("d", "arson"),
        row("e", group="u", split="train"), row("f", group="u", split="test"), row("g"),
    ]  # fmt: skip
    looked = seen("a", "a", "c", "d", "e", "f", "g")
    looked[3] = Looked("d", error="broken")
    assert {each.id for each in balanced(rows, looked)} == {"a", "c", "e", "g"}


def test_a_video_of_two_issues_counts_for_the_rarer() -> None:
    rows = [row("a", "arson", "smoking"), row("b", "arson"), row("c", "arson"), row("d")]
    chosen = {each.id for each in balanced(rows, seen("a", "b", "c", "d"))}
    assert "a" in chosen
    assert len(chosen) == 3


def test_splits_keep_what_belongs_together_and_their_shares() -> None:
    rows = [row(f"v{i}", *(["arson"] if i % 5 == 0 else []), group=f"u{i // 3}" if i < 90 else "") for i in range(300)]
    names = [f"file{i}" if i < 200 else f"file{i // 2}" for i in range(300)]
    shares = {"train": 0.8, "calibration": 0.1, "test": 0.1}
    divided = split_rows(rows, seen(*names), shares, seed=3)
    assert [each.id for each in divided] == [each.id for each in rows]
    for keys in (names, [each.group for each in rows]):
        found: dict[str, set[str]] = {}
        for key, each in zip(keys, divided, strict=True):
            found.setdefault(key, set()).add(each.split)
        assert all(len(splits) == 1 for key, splits in found.items() if key)
    sizes = Counter(each.split for each in divided)
    guilty = Counter(each.split for each in divided if each.issues)
    for split, share in shares.items():
        assert sizes[split] == pytest.approx(300 * share, abs=3)
        assert guilty[split] == pytest.approx(60 * share, abs=2)
    assert divided == split_rows(rows, seen(*names), shares, seed=3)
    assert divided != split_rows(rows, seen(*names), shares, seed=4)


def test_a_rare_issue_is_in_every_split_that_there_are_videos_for() -> None:
    rows = [row(f"r{i}", "rare", "arson") for i in range(3)] + [row(f"a{i}", "arson") for i in range(30)]
    rows += [row(f"c{i}") for i in range(100)]
    divided = split_rows(rows, seen(*(each.id for each in rows)), {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})
    assert {each.split for each in divided if "rare" in each.issues} == {"a", "b", "c"}


def test_a_split_without_videos_is_an_error() -> None:
    with pytest.raises(ManifestError, match="the split test would get no video"):
        split_rows([row("a"), row("b")], seen("same", "same"), {"train": 0.5, "test": 0.5})


def test_turns() -> None:
    assert in_turn([[1, 2, 3], [], [4]]) == [1, 4, 2, 3]
    assert in_turn([]) == []
