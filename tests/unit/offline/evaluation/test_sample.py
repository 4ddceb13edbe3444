"""Which videos are asked about, and how they are weighed."""

from pathlib import Path

import pytest

from offline.evaluation.asking import Answers
from offline.evaluation.collect import observed, question
from offline.evaluation.sample import demo_mix, described, parse_mix, require_labels, stratified
from offline.manifest import Labelled
from tests.unit.offline.decisions import decision, issue, labelled


def rows(**counts: int) -> list[Labelled]:
    return [
        labelled(Path(f"{kind}-{n}.mp4"), kind, ["arson"] if kind == "violation" else [])
        for kind, count in counts.items()
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("parts", "mix"),
    [((), None), (["demo"], demo_mix()), (["a=1", "b=3"], {"a": 1.0, "b": 3.0})],
)
def test_a_mix_is_read(parts: list[str], mix: dict[str, float] | None) -> None:
    assert parse_mix(parts) == mix


@pytest.mark.parametrize("wrong", ["a", "a=", "=1", "a=-1", "a=0", "a=nan", "a=inf", "a=x"])
def test_a_wrong_mix_is_named(wrong: str) -> None:
    with pytest.raises(ValueError, match="KIND=SHARE") as error:
        parse_mix(["b=1", wrong])
    assert repr(wrong) in str(error.value)


def test_a_kind_has_one_share() -> None:
    with pytest.raises(ValueError, match="KIND=SHARE"):
        parse_mix(["a=1", "a=2"])


def test_the_weights_are_told() -> None:
    assert "0.25 a, 0.75 b" in described({"a": 1, "b": 3}, rows(a=1, b=1))
    assert "not of traffic" in described(None, rows(a=1))


def test_labels_are_required() -> None:
    require_labels(rows(violation=1, other=1), "m.jsonl")
    with pytest.raises(ValueError, match=r"m\.jsonl: no video is labelled"):
        require_labels(rows(other=3), "m.jsonl")
    with pytest.raises(ValueError, match="add clean ones"):
        require_labels(rows(violation=3), "m.jsonl")


def test_a_stratified_part_has_as_many_of_each_kind_as_there_are() -> None:
    pool = rows(violation=3, look_alike=40, other=400)
    part = stratified(pool, 43)
    counts = {kind: sum(row.kind == kind for row in part) for kind in ("violation", "look_alike", "other")}
    assert counts == {"violation": 3, "look_alike": 20, "other": 20}
    assert [pool.index(row) for row in part] == sorted(pool.index(row) for row in part)
    assert {row.id for row in stratified(pool, 20)} < {row.id for row in part}, "a smaller part is in the larger one"
    assert stratified(pool, 10_000) == pool
    assert stratified(pool, 0) == []


def test_those_that_were_decided_stand_for_those_that_were_not() -> None:
    pool = rows(violation=2, other=4)
    made = decision(issue("arson", risk=0.5))
    decided = {row.id: made for row in pool if row.id not in ("violation-1.mp4", "other-0.mp4")}
    found = observed(pool, Answers(decided), {"violation": 0.1, "other": 0.9})
    assert [o.weight for o in found] == pytest.approx([0.1, 0.3, 0.3, 0.3])
    assert [o.id for o in found] == list(decided)


def test_labels_of_a_row_reach_its_observation() -> None:
    row = labelled(Path("a.mp4"), "look_alike", style="noto", look_alike="a_with_c", look_alike_of="arson")
    (found,) = observed([row], Answers({"a.mp4": decision(issue("arson", risk=0.5))}))
    assert found.labels == {"style": "noto", "look_alike": "a_with_c", "look_alike_of": "arson"}


def test_a_question_without_its_title() -> None:
    row = labelled(Path("a.mp4"), "other", title="a bonfire", description="in the garden")
    assert question("u", row).request.context.title == "a bonfire"
    bare = question("u", row, with_title=False).request.context
    assert (bare.title, bare.description) == ("", "")
