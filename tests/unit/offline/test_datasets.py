"""D1, D2 and D3: equal numbers, true answers, prompts as they are served, and errors that say what is missing."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest

from offline.datasets.build import build, counts
from offline.datasets.classification import ATTACKS, Classification
from offline.datasets.lines import DESCRIBE, Line, write_lines
from offline.datasets.material import OwnMaterial, WorldMaterial
from offline.demo_world.generate import manifest_row
from offline.demo_world.scene import Kind, Pools
from offline.demo_world.splits import KINDS, scene_at
from offline.finetune.data import read_samples
from offline.manifest import Labelled, ManifestError
from services.contracts import Context, PromptName
from services.policy import default_policy_path, load_policy
from services.prompts import context_block, questions

POLICY = load_policy(default_policy_path())
ISSUES = {issue.id: issue for issue in POLICY.slice(None).issues}
TEMPLATES: tuple[PromptName, ...] = get_args(PromptName)
FOLDER = Path("data")


def row(name: str, *issues: str, **fields: Any) -> Labelled:
    kind = "violation" if issues else "other"
    return Labelled.model_validate(
        {"path": name, "id": name, "file": Path("videos") / name, "issues": issues, "kind": kind, **fields}
    )


def own() -> list[Labelled]:
    rows = [row(f"fire{i}", "arson", title=f"my fire {i}") for i in range(8)]
    rows += [row(f"smoke{i}", "smoking_promotion") for i in range(3)]
    rows += [row(f"camp{i}", look_alike_of="arson", kind="look_alike") for i in range(5)]
    rows += [row(f"plain{i}", title=f"plain {i}") for i in range(20)]
    return [
        each.model_copy(update={"caption": f"It is {each.id}.", "questions": _asked("Is it day?", "Who is it?")})
        for each in rows
    ]


def _asked(*texts: str) -> tuple[Any, ...]:
    return Labelled.model_validate(
        {"path": "x", "file": "x", "questions": [{"question": text, "answer": "Yes"} for text in texts]}
    ).questions


@pytest.fixture(scope="module")
def world(pools: Pools) -> list[Labelled]:
    def one(kind: Kind, index: int) -> Labelled:
        scene = scene_at(3, "train", kind, index, pools)
        return Labelled.model_validate({**manifest_row(scene, "train", f"{scene.id}.mp4"), "file": f"{scene.id}.mp4"})

    return [one(kind, index) for kind in KINDS for index in range(24)]


def true_answer(line: Line, truth: frozenset[str]) -> str:
    yes = bool(truth) if line.level == "overall" else line.issue in truth
    return "Yes" if yes else "No"


@pytest.mark.parametrize("template", TEMPLATES)
def test_d3_tells_the_truth_in_the_words_that_are_served(template: PromptName) -> None:
    rows = {each.id: each for each in own()}
    drawn = Classification(list(rows.values()), list(ISSUES.values()), template)
    lines = drawn.draw(drawn.capacity, FOLDER)
    levels = [each.kind for each in questions(template, ISSUES["arson"])]
    # 11 videos violate one issue each.
    assert len(lines) == 2 * 11 * len(levels)
    assert Counter((line.level, line.answer) for line in lines) == {
        (level, answer): 11 for level in levels for answer in ("Yes", "No")
    }
    assert len({(line.video, line.level, line.issue) for line in lines}) == len(lines)
    for line in lines:
        each = rows[line.id.partition(":")[0]]
        assert line.answer == true_answer(line, each.truth)
        assert line.title in {"", each.title, *ATTACKS}
        asked = [q.text for issue in ISSUES.values() for q in questions(template, issue) if q.kind == line.level]
        served = [render_text(text, line.title) for text in asked]
        assert line.prompt in served
        assert (line.issue is None) is (line.level == "overall" and template != "P4")
        if line.issue:
            own_text = [q.text for q in questions(template, ISSUES[line.issue]) if q.kind == line.level]
            assert line.prompt.endswith(own_text[0])


def render_text(text: str, title: str) -> str:
    block = context_block(Context(title=title))
    return f"{block}\n{text}" if block else text


def test_the_hard_no_comes_first_and_every_issue_has_its_yes() -> None:
    drawn = Classification(own(), list(ISSUES.values()), "P3")
    lines = drawn.draw(12, FOLDER)
    no = [line for line in lines if line.answer == "No"]
    assert Counter(line.id[:4] for line in no if line.issue == "arson") == {"camp": 5}
    assert len(no) == 6
    yes = Counter(line.issue for line in lines if line.answer == "Yes")
    assert yes == {"arson": 3, "smoking_promotion": 3}


def test_some_lines_quote_a_title_and_some_an_attack() -> None:
    rows = [row(f"fire{i}", "arson", title=f"my fire {i}") for i in range(300)] + [row(f"plain{i}") for i in range(300)]
    lines = Classification(rows, list(ISSUES.values()), "P1").draw(600, FOLDER)
    titled = [line for line in lines if line.title]
    attacked = [line for line in titled if line.title in ATTACKS]
    assert 40 < len(titled) < 110
    assert 10 < len(attacked) < 60
    assert all(f'"{line.title}"' in line.prompt for line in titled)


def test_d3_needs_both_sorts_of_videos() -> None:
    for rows, reason in (([row("a")], "violates an issue"), ([row("a", "arson")], "violates none")):
        with pytest.raises(ManifestError, match=reason):
            Classification(rows, list(ISSUES.values()), "P1")


def test_own_videos_give_equal_numbers_all_different(tmp_path: Path) -> None:
    lines = build(own(), POLICY, OwnMaterial(), tmp_path / "deep" / "data")
    assert {name: len(each) for name, each in lines.items()} == {"d1": 36, "d2": 36, "d3": 36}
    for each in lines.values():
        assert len({(line.video, line.prompt, line.issue) for line in each}) == 36
        assert len({line.id for line in each}) == 36
    assert {line.prompt for line in lines["d2"]} == {DESCRIBE}
    assert {line.answer for line in lines["d2"]} == {f"It is {each.id}." for each in own()}
    # Each video once, before any has a second question.
    assert len({line.video for line in lines["d1"]}) == 36
    assert counts(lines)[:2] == [("d1", "", 36, 36, 0), ("d2", "", 36, 0, 0)]


def test_the_choice_is_the_same_every_time_and_follows_the_seed() -> None:
    first = build(own(), POLICY, OwnMaterial(), FOLDER, samples=9, seed=1)
    assert first == build(own(), POLICY, OwnMaterial(), FOLDER, samples=9, seed=1)
    assert first != build(own(), POLICY, OwnMaterial(), FOLDER, samples=9, seed=2)


def test_material_that_is_missing_is_told() -> None:
    bare = [each.model_copy(update={"caption": " ", "questions": ()}) for each in own()]
    with pytest.raises(ManifestError) as caught:
        build(bare, POLICY, OwnMaterial(), FOLDER)
    assert [("--without d1" in each, "--without d2" in each) for each in caught.value.problems] == [
        (True, False),
        (False, True),
    ]
    assert set(build(bare, POLICY, OwnMaterial(), FOLDER, without=("d1", "d2"))) == {"d3"}
    with pytest.raises(ManifestError, match=r"D1 72, D2 36, D3 44\); ask for at most 36"):
        build(own(), POLICY, OwnMaterial(), FOLDER, samples=37)
    with pytest.raises(ManifestError, match="all data sets"):
        build(own(), POLICY, OwnMaterial(), FOLDER, without=("d1", "d2", "d3"))


def test_the_demo_world_has_material_of_its_own(world: list[Labelled]) -> None:
    lines = build(world, POLICY, WorldMaterial(POLICY, world), FOLDER, samples=48)
    assert {name: len(each) for name, each in lines.items()} == {"d1": 48, "d2": 48, "d3": 48}
    of = {each.id: each for each in world}
    blamed = 0
    for line in lines["d2"]:
        issues = of[line.id.partition(":")[0]].issues
        assert ("together with" in line.answer) is bool(issues)
        blamed += bool(issues)
    assert blamed
    assert {line.answer for line in lines["d1"]} == {"Yes", "No"}
    hard = [line for line in lines["d3"] if line.level == "fine_grained" and line.answer == "No"]
    assert all(of[line.id.partition(":")[0]].look_alike_of == line.issue for line in hard)
    assert lines == build(world, POLICY, WorldMaterial(POLICY, world), FOLDER, samples=48)


def test_more_questions_than_usual_can_be_had_of_the_demo_world(world: list[Labelled]) -> None:
    asked = WorldMaterial(POLICY, world).questions(world, 8 * len(world))
    assert len(asked) >= 8 * len(world)
    assert len({(each.row.id, each.prompt) for each in asked}) == len(asked)


def test_a_manifest_that_is_not_the_demo_worlds_is_refused(world: list[Labelled]) -> None:
    wrong = world[0].model_copy(update={"issues": ("arson", "drug_abuse")})
    with pytest.raises(ManifestError, match=f"{wrong.id}: its shots show"):
        WorldMaterial(POLICY, [*world[1:], wrong])
    with pytest.raises(ManifestError, match="no manifest of the demo world"):
        WorldMaterial(POLICY, [row("a")])


def test_what_is_written_is_what_fine_tuning_reads(tmp_path: Path) -> None:
    rows = [each.model_copy(update={"file": tmp_path / "videos" / each.id}) for each in own()]
    (tmp_path / "videos").mkdir()
    for each in rows:
        each.file.write_bytes(b"video")
    folder = tmp_path / "data"
    lines = build(rows, POLICY, OwnMaterial(), folder)
    write_lines(lines, folder)
    samples = read_samples(folder)
    assert [(s.part, s.prompt, s.answer) for s in samples] == [
        (line.dataset, line.prompt, line.answer)
        for name in ("d1", "d2", "d3")
        for line in lines[name]  # type: ignore[index]
    ]
    assert json.loads((folder / "d3.jsonl").read_text().splitlines()[0]).keys() == Line.model_fields.keys()
    write_lines({"d3": lines["d3"]}, folder)
    assert {path.name for path in folder.iterdir()} == {"d3.jsonl"}
