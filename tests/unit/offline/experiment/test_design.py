"""Assignment, traffic, rules and the sample-ratio check."""

import numpy as np
import pytest

from offline.experiment.design import Design, Rule, arm_of, parse_rule, ratio_check, traffic
from tests.unit.offline.decisions import issue


def test_traffic_follows_the_weights_and_repeats_itself() -> None:
    design = Design(20_000)
    uploads = traffic(design, [0.01, 0.19, 0.8])
    shares = np.bincount([each.video for each in uploads]) / len(uploads)
    assert shares == pytest.approx([0.01, 0.19, 0.8], abs=0.01)
    assert len({each.user for each in uploads}) == 20_000
    assert traffic(design, [0.01, 0.19, 0.8]) == uploads
    assert traffic(Design(20_000, seed=1), [0.01, 0.19, 0.8]) != uploads


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_users_are_assigned_by_a_hash(share: float) -> None:
    design = Design(10_000, treatment_share=share)
    users = [each.user for each in traffic(design, [1.0])]
    arms = [arm_of(user, design) for user in users]
    assert [arm_of(user, design) for user in users] == arms, "the same user, the same arm"
    treated = arms.count("treatment")
    assert treated / 10_000 == pytest.approx(share, abs=0.02)
    assert ratio_check(10_000 - treated, treated, design).passed
    other = [arm_of(user, Design(10_000, share, salt="another")) for user in users]
    agree = np.mean([a == b for a, b in zip(arms, other, strict=True)])
    assert agree == pytest.approx(share**2 + (1 - share) ** 2, abs=0.02), "another salt is another, independent draw"


def test_the_sample_ratio_check_by_hand() -> None:
    design = Design(2000)
    even = ratio_check(1010, 990, design)
    assert even.expected == (1000, 1000)
    # chi-square 0.2 with one degree of freedom.
    assert even.p == pytest.approx(0.6547, abs=1e-4)
    assert even.passed
    # chi-square 12.8: p 0.00035.
    lost = ratio_check(1080, 920, design)
    assert lost.p == pytest.approx(0.000347, abs=1e-5)
    assert not lost.passed
    assert ratio_check(1800, 200, Design(2000, treatment_share=0.1)).p == pytest.approx(1.0)
    with pytest.raises(ValueError, match="ask for more requests"):
        ratio_check(5, 0, design)


def test_rules_act() -> None:
    flagged = issue("arson", risk=0.6, probability=0.7, threshold=0.5)
    cleared = issue("arson", risk=0.6, probability=0.2, threshold=0.5)
    filtered = issue("arson", risk=0.4, threshold=0.5)
    acts = {text: [parse_rule(text).acts(each) for each in (flagged, cleared, filtered)] for text in
            ("verdict", "risk", "risk:0.4", "risk:0.61")}  # fmt: skip
    assert acts == {
        "verdict": [True, False, False],
        "risk": [True, True, False],
        "risk:0.4": [True, True, True],
        "risk:0.61": [False, False, False],
    }
    assert str(Rule("risk", 0.9)) == "the router's risk reaches 0.9"


@pytest.mark.parametrize("wrong", ["", "verdicts", "risk:", "risk:x", "risk:1.5", "risk:nan", "verdict:0.5"])
def test_a_wrong_rule_is_named(wrong: str) -> None:
    with pytest.raises(ValueError, match="is no rule") as error:
        parse_rule(wrong)
    assert repr(wrong) in str(error.value)
