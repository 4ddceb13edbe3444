"""Scores in the tables are those that the ranker would serve for the same logits."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata

from offline.paper.answers import TEMPLATES, answered, p_yes, pair_scores, prompts_of
from ranker_svc.answers import judge
from ranker_svc.engines.protocol import RawAnswer
from services.calibration import FittedFor
from services.contracts import Assembly, Context, PromptName
from services.prompts import context_block, plan
from tests.unit.offline.paper_sets import answers, policy, random_logits, routed

SET = routed()


@pytest.mark.parametrize("template", TEMPLATES)
def test_scores_are_the_served_ones(template: PromptName) -> None:
    found = answers(SET)
    served = []
    issues = {issue.id: issue for issue in policy().slice(None).issues}
    for video, asked, logits in zip(SET.videos, SET.asked, found.logits, strict=True):
        chosen = [issues[each].model_copy(update={"prompt": template, "calibrator": None}) for each in asked]
        questions = plan(chosen, context_block(Context(title=video.title)))
        raw = [RawAnswer(logit_yes=logits[t][0], logit_no=logits[t][1], answer_mass=1.0) for t in questions.prompts]
        ranks, _ = judge(chosen, questions, raw, calibrators={}, conditions=FittedFor(), min_answer_mass=0.0)
        served += [rank.score for rank in ranks]
    assert pair_scores(found, policy(), template) == pytest.approx(served)


def test_a_title_makes_prompts_of_its_own() -> None:
    with_title, without = prompts_of(SET, policy())[2], prompts_of(SET, policy())[1]
    assert len(with_title) == 2 * len(without)  # the same single issue, asked both ways
    assert len(set(with_title)) == len(with_title)


def test_temperature() -> None:
    assert p_yes(2.0, 1.0) == pytest.approx(1 / (1 + np.exp(-1)))
    assert p_yes(2.0, 1.0, 0.5) == pytest.approx(1 / (1 + np.exp(-2)))
    assert p_yes(-4000.0, 4000.0) == pytest.approx(0.0)
    assert p_yes(4000.0, -4000.0) == 1.0


def test_temperature_reorders_only_what_is_assembled() -> None:
    found = answers(routed(repeats=8))

    def ranks(template: PromptName, temperature: float) -> np.ndarray:
        return rankdata(pair_scores(found, policy(), template, temperature=temperature))

    assert (ranks("P1", 0.7) == ranks("P1", 1.0)).all()
    assert (ranks("P3", 0.7) == ranks("P3", 1.0)).all()
    assert (ranks("P2", 0.3) != ranks("P2", 1.0)).any()


def test_an_assembly_takes_the_place_of_the_policys() -> None:
    found = answers(SET)
    original = pair_scores(found, policy(), "P2", assembly=Assembly(method="original"))
    assert original == pytest.approx(pair_scores(found, policy(), "P1")), "the same question, alone"
    highest = pair_scores(found, policy(), "P2", assembly=Assembly(method="maximum"))
    assert (highest >= original).all()
    assert (highest > original).any()


def test_answers_are_asked_for_once(tmp_path: Path) -> None:
    cache = tmp_path / "answers" / "a.json"
    first = answered(SET, policy(), random_logits, cache)
    again = answered(SET, policy(), lambda prompts: pytest.fail("asked again"), cache)
    assert again == first
    with pytest.raises(ValueError, match=r"other prompts; delete it"):
        answered(routed(repeats=2), policy(), random_logits, cache)
