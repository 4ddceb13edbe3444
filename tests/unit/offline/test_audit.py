"""The audit's report and its tables, on small real videos and on facts made up."""

import io
import json
from pathlib import Path

from rich.console import Console

from offline.audit import audit, report, show
from offline.duplicates import Looked
from offline.manifest import Labelled
from tests.media_factory import render
from tests.unit.offline.test_duplicates import scribble


def row(name: str, **fields: object) -> Labelled:
    return Labelled.model_validate({"path": name, "id": name, "file": Path(name), "kind": "other", **fields})


def seen(number: int, duration_s: float = 4.0) -> Looked:
    """A video that resembles no other."""
    value = (0x9E3779B97F4A7C15 * (number + 1)) % 2**64
    return Looked(f"sha{number}", duration_s, (value,) * 4)


def text_of(found: object) -> str:
    console = Console(file=io.StringIO(), width=200)
    show(found, console)  # type: ignore[arg-type]
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_real_videos_leaks_and_broken_ones(tmp_path: Path) -> None:
    render(tmp_path / "a.mp4", lambda i: scribble(1, i), frames=16)
    render(tmp_path / "b.mp4", lambda i: scribble(1, i), frames=16, gop=4)
    render(tmp_path / "c.mp4", lambda i: scribble(2, i), frames=32)
    (tmp_path / "d.mp4").write_bytes(b"")
    splits = {"a.mp4": "train", "b.mp4": "test", "c.mp4": "test", "d.mp4": "test"}
    rows = [row(name, split=split).model_copy(update={"file": tmp_path / name}) for name, split in splits.items()]
    found = audit(rows, Console(quiet=True), workers=1)
    (leak,) = found.leaks
    assert (leak.how, leak.ids, leak.splits) == ("look", ("a.mp4", "b.mp4"), ("test", "train"))
    assert [name for name, _ in found.broken] == ["d.mp4"]
    assert not found.clean
    assert round(found.durations_s["test"][-1], 1) == 4.0
    document = json.loads(json.dumps(found.as_json()))
    assert (document["clean"], document["leaks"]) == (False, 1)
    assert document["broken"].keys() == {"d.mp4"}


def test_balance_and_durations_by_split() -> None:
    rows = [
        row("a", split="train", issues=["arson", "arson"], kind="violation"),
        row("b", split="train", issues=["arson", "smoking"], kind="violation"),
        row("c", split="test"),
    ]
    found = report(rows, [seen(1, 2.0), seen(2, 4.0), seen(3, 9.0)])
    assert found.videos == {"test": {"other": 1}, "train": {"violation": 2}}
    assert found.issues == {"test": {}, "train": {"arson": 2, "smoking": 1}}
    assert found.durations_s["train"][0] == 2.0
    assert found.durations_s["train"][2] == 3.0
    assert found.clean
    assert found.twins == ()


def test_the_same_video_with_other_labels_is_contrary_and_no_leak_in_one_split() -> None:
    rows = [row("a", issues=["arson"], split="train"), row("b", split="train")]
    found = report(rows, [seen(1), seen(1)])
    assert [each.contrary for each in found.twins] == [True]
    assert found.clean
    assert "1 groups of one video with different labels\n  a, b" in text_of(found)


def test_a_group_leaks_and_is_otherwise_not_told() -> None:
    rows = [
        row("a", issues=["arson"], group="u", split="train"),
        row("b", group="u", split="test"),
        row("c", group="v"),
        row("d", group="v"),
    ]
    found = report(rows, [seen(number) for number in range(4)])
    assert [each.ids for each in found.twins] == [("a", "b")]
    assert not found.twins[0].contrary, "another video may violate another issue"
    assert not found.clean
    assert "1 leaks between splits\n  a, b (the same group)" in text_of(found)


def test_names_are_shown_as_they_are_and_long_lists_are_cut() -> None:
    rows = [row(f"[red]{number}", split="[bold]") for number in range(30)]
    told = text_of(report(rows, [Looked("", error="broken")] * 30))
    assert "[red]0: broken" in told
    assert "[bold]" in told
    assert "and 20 more" in told
    assert "[red]10:" not in told
