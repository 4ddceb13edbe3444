"""The plan of trainings behind Table 1."""

import pytest

from offline.paper.runs import ALL_TEMPLATES, FEW_LABELS, ROW_NAMES, Run, runs


@pytest.mark.parametrize("separate", [False, True])
def test_every_start_comes_before(separate: bool) -> None:
    planned = runs(separate=separate)
    names = [run.name for run in planned]
    assert len(set(names)) == len(names)
    for index, run in enumerate(planned):
        assert run.start is None or run.start in names[:index]


@pytest.mark.parametrize("separate", [False, True])
def test_each_row_has_each_template_with_all_labels_and_with_few(separate: bool) -> None:
    planned = runs(separate=separate)
    assert {run.row for run in planned} == set(ROW_NAMES)
    for row in ("phased", "multi_task"):
        asked = [(run.label_share, prompt) for run in planned if run.row == row for prompt in run.templates]
        assert sorted(asked) == sorted((share, prompt) for share in (FEW_LABELS, 1.0) for prompt in ALL_TEMPLATES)
    assert len(planned) == (18 if separate else 6)


def test_strategies_get_the_same_time() -> None:
    by_name = {run.name: run for run in runs()}

    def time_of(run: Run) -> float:
        return run.share + (time_of(by_name[run.start]) if run.start else 0.0)

    assert time_of(by_name["phased"]) == pytest.approx(time_of(by_name["multi-task"]))


def test_zero_shot_models_see_no_classification() -> None:
    for run in runs():
        assert ("d3" in run.data) == (run.row in ("phased", "multi_task"))
