"""The parts of the ranker's training and the learning rate along them."""

from pathlib import Path

import pytest

from offline.training.ranker_recipe import RankerRecipe, part_at, parts, rate_at

PHASED = RankerRecipe(strategy="phased")
MULTI_TASK = RankerRecipe()


@pytest.mark.parametrize("recipe", [PHASED, MULTI_TASK, RankerRecipe(start=Path("x")), RankerRecipe(data=("d1",))])
def test_shares_fill_the_time(recipe: RankerRecipe) -> None:
    planned = parts(recipe)
    assert sum(part.share for part in planned) == pytest.approx(1)
    assert part_at(planned, 0.0) == 0
    assert part_at(planned, 1.0) == len(planned) - 1


def test_phased_has_no_labels_before_d3_and_nothing_else_in_it() -> None:
    *before, last = parts(PHASED)
    assert [part.lessons[2] for part in before] == [0, 0, 0]
    assert last.lessons[:2] == (0, 0)
    assert last.lessons[2] > 0
    assert [part.keep_best for part in before] == [False, False, True]


def test_multi_task_mixes_all_three() -> None:
    assert all(parts(MULTI_TASK)[-1].lessons)
    assert {part.course for part in parts(MULTI_TASK)} == {0}


@pytest.mark.parametrize(
    ("data", "lessons"),
    [(("d1",), (True, False, False)), (("d1", "d2"), (True, True, False)), (("d3",), (False, False, True))],
)
def test_data_sets_that_are_left_out_have_no_lessons(data: tuple[str, ...], lessons: tuple[bool, ...]) -> None:
    for strategy in ("phased", "multi_task"):
        planned = parts(RankerRecipe(strategy=strategy, data=data))  # type: ignore[arg-type]
        assert tuple(map(bool, planned[-1].lessons)) == lessons
        for part in planned:
            assert all(known or not number for known, number in zip(lessons, part.lessons, strict=True))


def test_a_start_leaves_the_last_part() -> None:
    for strategy in ("phased", "multi_task"):
        (part,) = parts(RankerRecipe(strategy=strategy, start=Path("ranker.pt")))  # type: ignore[arg-type]
        assert part.share == 1
        assert part.lessons == parts(RankerRecipe(strategy=strategy))[-1].lessons  # type: ignore[arg-type]
        assert rate_at((part,), 0.5) == pytest.approx(0.51, abs=0.01)


def test_with_another_tower_the_projector_learns_the_words_first() -> None:
    first, last = parts(RankerRecipe(start=Path("ranker.pt")), new_eyes=True)
    assert first.aligns_only
    assert first.projector_only
    assert not last.projector_only
    assert last.lessons == parts(RankerRecipe())[-1].lessons
    assert {first.course, last.course} == {0}


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one data set"):
        parts(RankerRecipe(data=()))


def test_the_rate_rises_and_falls_once_in_each_course() -> None:
    planned = parts(PHASED)
    border = sum(part.share for part in planned[:-1])
    rates = [rate_at(planned, step / 1000) for step in range(1001)]
    assert max(rates) <= 1
    assert rates[0] < 0.05
    assert rates[int(border * 1000) - 1] < 0.05, "at the end of D1 and D2"
    assert max(rates[int(border * 1000) :]) > 0.9, "D3 begins anew"
    assert rates[-1] == pytest.approx(0.02)
    turns = sum(a < b and b > c for a, b, c in zip(rates, rates[1:], rates[2:], strict=False))
    assert turns == 2
