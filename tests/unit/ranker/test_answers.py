"""Raw answers to judgements: probability, assembly, calibration, warnings."""

import pytest

from ranker_svc.answers import judge, p_yes
from ranker_svc.engines.protocol import RawAnswer
from services.calibration import Calibrator, FittedFor, PlattMap, TemperatureMap
from services.contracts import Assembly, IssueQuestions, IssueRank
from services.prompts import plan

ARSON = IssueQuestions(id="arson", name="arson", definition="Fire.", calibrator="cal")
DRUGS = IssueQuestions(
    id="drugs", name="drugs", definition="Pills.", prompt="P3", assembly=Assembly(method="maximum"), calibrator=None
)
CALIBRATOR = Calibrator(
    id="cal",
    pooled=TemperatureMap(temperature=2.0),
    issues={"other": PlattMap(slope=1.0, intercept=3.0)},
    fitted_for=FittedFor(model="m", prompt="P2", frames=8),
)


def raw(margin: float, mass: float = 0.99) -> RawAnswer:
    return RawAnswer(logit_yes=margin, logit_no=0.0, answer_mass=mass)


def judged(
    answers: list[RawAnswer],
    issues: tuple[IssueQuestions, ...] = (ARSON, DRUGS),
    calibrators: tuple[Calibrator, ...] = (CALIBRATOR,),
    model: str = "m",
    block: str = "",
) -> tuple[tuple[IssueRank, ...], tuple[str, ...]]:
    return judge(
        issues,
        plan(issues, block),
        answers,
        calibrators={calibrator.id: calibrator for calibrator in calibrators},
        conditions=FittedFor(model=model, frames=8),
        min_answer_mass=0.5,
    )


@pytest.mark.parametrize(("margin", "expected"), [(0.0, 0.5), (1000.0, 1.0), (-1000.0, 0.0), (1.0, 0.7310586)])
def test_p_yes_is_a_softmax_that_does_not_overflow(margin: float, expected: float) -> None:
    assert p_yes(raw(margin)) == pytest.approx(expected)


def test_scores_are_assembled_then_calibrated() -> None:
    (arson, drugs), warnings = judged([raw(2.0), raw(0.0), raw(-1.0)])
    assert [answer.question for answer in arson.answers] == ["fine_grained", "overall"]
    assert arson.score == pytest.approx((0.8807971 + 0.5) / 2)
    assert arson.probability == pytest.approx(CALIBRATOR.apply(arson.score, "arson"))
    assert arson.calibrator == "cal"
    assert drugs.probability == drugs.score == pytest.approx(0.2689414)
    assert drugs.calibrator is None
    assert warnings == ()


def test_an_issue_with_a_map_of_its_own_is_calibrated_by_it() -> None:
    other = ARSON.model_copy(update={"id": "other"})
    (arson, own), _ = judged([raw(2.0), raw(0.0)], issues=(ARSON, other))
    assert own.score == arson.score
    assert own.probability == pytest.approx(CALIBRATOR.issues["other"].apply(own.score))
    assert own.probability > arson.probability


def test_an_unknown_calibrator_leaves_the_score_and_warns() -> None:
    (arson, _), warnings = judged([raw(2.0), raw(0.0), raw(-1.0)], calibrators=())
    assert arson.calibrator is None
    assert arson.probability == arson.score
    assert warnings == ("calibrator `cal` is not known to this ranker: scores are uncalibrated",)


def test_a_calibrator_of_another_model_is_applied_with_a_warning() -> None:
    (arson, _), warnings = judged([raw(2.0), raw(0.0), raw(-1.0)], model="other")
    assert arson.calibrator == "cal"
    assert warnings == ("calibrator `cal` was fitted for model m, not other",)


def test_low_answer_mass_warns() -> None:
    _, warnings = judged([raw(2.0, mass=0.2), raw(0.0), raw(-1.0)])
    assert warnings == ("arson: the fine_grained answer has only 0.20 of its distribution on Yes and No",)


def test_a_warning_is_said_once() -> None:
    issues = tuple(ARSON.model_copy(update={"id": name, "name": name}) for name in ("one", "two"))
    _, warnings = judged([raw(0.0)] * 3, issues=issues, calibrators=())
    assert len(warnings) == 1


@pytest.mark.parametrize(("with_text", "counts"), [(-2.0, 1.0), (3.0, 3.0)])
def test_a_text_raises_a_score_and_never_lowers_it(with_text: float, counts: float) -> None:
    guarded = ARSON.model_copy(update={"prompt": "P1", "assembly": Assembly(method="original"), "calibrator": None})
    (found,), _ = judged([raw(1.0), raw(with_text)], (guarded,), block="TEXT")
    assert found.score == pytest.approx(p_yes(raw(counts)))
    assert [answer.logit_yes for answer in found.answers] == [counts]
