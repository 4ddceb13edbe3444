"""From an engine's raw answers to the judgement of every issue: probability, assembly, calibration, warnings. Pure."""

import math
from collections.abc import Mapping, Sequence

from ranker_svc.engines.protocol import RawAnswer
from services.assembly import assemble
from services.calibration import Calibrator, FittedFor
from services.contracts import Answer, IssueQuestions, IssueRank
from services.prompts import PlannedQuestion, QuestionPlan


def p_yes(answer: RawAnswer) -> float:
    """softmax(logit_yes, logit_no)[0] (Filter-And-Refine, Algorithm 1, step 9)."""
    margin = answer.logit_yes - answer.logit_no
    return 1.0 / (1.0 + math.exp(-margin)) if margin >= 0 else math.exp(margin) / (1.0 + math.exp(margin))


def judge(
    issues: Sequence[IssueQuestions],
    plan: QuestionPlan,
    raw: Sequence[RawAnswer],
    *,
    calibrators: Mapping[str, Calibrator],
    conditions: FittedFor,
    min_answer_mass: float,
) -> tuple[tuple[IssueRank, ...], tuple[str, ...]]:
    """The judgement of every issue, in order, and warnings, each once.

    Args:
        issues: as they were asked.
        plan: of these issues.
        raw: one answer for each of the plan's prompts.
        calibrators: by id; an issue that names an unknown one keeps its score, with a warning.
        conditions: what holds now and calibrators may have been fitted for (model, frames).
        min_answer_mass: an answer below it draws a warning: the model wanted to say something else.
    """
    warnings: dict[str, None] = {}
    ranks = []
    for issue, readings in zip(issues, plan.issues, strict=True):
        # Asked with and without the uploader's text, the higher score counts: a text cannot talk it down.
        score, answers = max((_read(reading, raw, issue) for reading in readings), key=lambda found: found[0])
        calibrator = calibrators.get(issue.calibrator) if issue.calibrator is not None else None
        warnings.update(dict.fromkeys(_warnings(issue, answers, calibrator, conditions, min_answer_mass)))
        ranks.append(
            IssueRank(
                id=issue.id,
                prompt=issue.prompt,
                answers=answers,
                score=score,
                probability=score if calibrator is None else calibrator.apply(score, issue.id),
                calibrator=None if calibrator is None else calibrator.id,
            )
        )
    return tuple(ranks), tuple(warnings)


def _read(
    reading: Sequence[PlannedQuestion], raw: Sequence[RawAnswer], issue: IssueQuestions
) -> tuple[float, tuple[Answer, ...]]:
    """Score and answers of one reading."""
    answers = tuple(_answer(question, raw[question.prompt]) for question in reading)
    return assemble({answer.question: answer.p_yes for answer in answers}, issue.assembly), answers


def _answer(question: PlannedQuestion, raw: RawAnswer) -> Answer:
    return Answer(
        question=question.kind,
        logit_yes=raw.logit_yes,
        logit_no=raw.logit_no,
        p_yes=p_yes(raw),
        answer_mass=raw.answer_mass,
    )


def _warnings(
    issue: IssueQuestions,
    answers: Sequence[Answer],
    calibrator: Calibrator | None,
    conditions: FittedFor,
    min_answer_mass: float,
) -> list[str]:
    found = [
        f"{issue.id}: the {answer.question} answer has only {answer.answer_mass:.2f} of its distribution on Yes and No"
        for answer in answers
        if answer.answer_mass < min_answer_mass
    ]
    if calibrator is not None:
        weight = issue.assembly.fine_weight if issue.assembly.method == "weighted_sum" else None
        actual = {"prompt": issue.prompt, "assembly": issue.assembly.method, "fine_weight": weight}
        found += calibrator.mismatch(conditions.model_copy(update=actual))
    elif issue.calibrator is not None:
        found.append(f"calibrator `{issue.calibrator}` is not known to this ranker: scores are uncalibrated")
    return found
