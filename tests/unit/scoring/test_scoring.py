"""The scale of similarities and the rule of risk: values by hand, and properties that hold for any input."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts import SeedKind
from services.scoring import Background, Match, risk_of
from services.scoring.background import level_of_quantile

RNG = np.random.default_rng(7)
FITTED = Background.fit(
    {
        "golden": RNG.normal(0.2, 0.1, 20_000).clip(-1, 1),
        "negative": RNG.normal(0.3, 0.1, 20_000).clip(-1, 1),
        "text": RNG.normal(0.05, 0.02, 300).clip(-1, 1),
    },
    encoder="0123456789abcdef",
)

cosines = st.floats(-1.0, 1.0)
backgrounds = st.sampled_from([FITTED, Background.identity()])
kinds = st.sampled_from(["golden", "centroid", "feedback", "text"])


def matches(of: st.SearchStrategy[str]) -> st.SearchStrategy[list[Match]]:
    one = st.builds(Match, frame=st.integers(0, 7), seed_id=st.sampled_from("abcd"), kind=of, similarity=cosines)
    return st.lists(one, max_size=12)


def risk(positives: list[Match], negatives: list[Match], background: Background = FITTED, **changes: float) -> float:
    rule = {"negative_weight": 0.5, "negative_margin": 0.25, **changes}
    return risk_of(positives, negatives, background, **rule).value


@pytest.mark.parametrize(("quantile", "level"), [(0, 0), (0.9, 0.25), (0.99, 0.5), (0.9999, 1), (1, 1)])
def test_levels(quantile: float, level: float) -> None:
    assert level_of_quantile(quantile) == pytest.approx(level)


def test_fit_ranks_against_the_background() -> None:
    assert FITTED.level("golden", 0.2 + 0.1 * 2.326) == pytest.approx(0.5, abs=0.02)  # 99 % of a normal
    assert FITTED.level("negative", 0.3 + 0.1 * 2.326) == pytest.approx(0.5, abs=0.02)
    assert FITTED.level("golden", 1.0) == 1.0
    assert FITTED.level("golden", -1.0) == 0.0
    assert FITTED.level("centroid", 0.4) == FITTED.level("golden", 0.4)
    assert FITTED.level("text", 0.2) > FITTED.level("golden", 0.2)


@given(similarity=cosines | st.sampled_from([knot for knot, _ in FITTED.knots["golden"]]))
def test_levels_lie_on_lines_between_the_knots(similarity: float) -> None:
    knots = FITTED.knots["golden"]
    expected = np.interp(similarity, [knot for knot, _ in knots], [level for _, level in knots])
    assert FITTED.level("golden", similarity) == pytest.approx(float(expected), abs=1e-12)


def test_a_small_sample_promises_no_rare_quantiles() -> None:
    assert max(level for _, level in FITTED.knots["text"][:-1]) <= level_of_quantile(0.995)


def test_identity_is_the_cosine() -> None:
    assert [Background.identity().level("golden", s) for s in (-0.5, 0.3, 1.0)] == [0.0, 0.3, 1.0]


@given(kind=st.sampled_from(["golden", "text", "negative", "feedback"]), background=backgrounds, a=cosines, b=cosines)
def test_level_is_monotone_and_bounded(kind: SeedKind, background: Background, a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert 0.0 <= background.level(kind, low) <= background.level(kind, high) <= 1.0


@given(sample=st.lists(cosines, min_size=1, max_size=50), a=cosines, b=cosines)
def test_any_sample_fits(sample: list[float], a: float, b: float) -> None:
    background = Background.fit({"golden": sample})
    low, high = sorted((a, b))
    assert 0.0 <= background.level("golden", low) <= background.level("golden", high) <= 1.0


@pytest.mark.parametrize("highest", [0.9, 1.0])
def test_what_is_below_the_whole_sample_has_level_zero(highest: float, tmp_path: Path) -> None:
    background = Background.fit({"golden": [highest] * 20})
    background.save(tmp_path / "b.json")
    for found in (background, Background.load(tmp_path / "b.json")):
        assert found.level("golden", highest - 0.001) == 0.0
        assert found.level("golden", 1.0) == 1.0


def test_save_and_load(tmp_path: Path) -> None:
    FITTED.save(tmp_path / "background.json")
    assert Background.load(tmp_path / "background.json") == FITTED


@pytest.mark.parametrize(
    "text", ["[]", '{"version": 2}', '{"version": 1, "encoder": "", "knots": {"golden": [[0.5, 0.4], [0.4, 1]]}}']
)
def test_load_refuses_what_is_no_background(tmp_path: Path, text: str) -> None:
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(ValueError, match=r"background|knots"):
        Background.load(tmp_path / "b.json")


def test_risk_by_hand() -> None:
    identity = Background.identity()
    positives = [Match(0, "a", "golden", 0.9), Match(1, "b", "golden", 0.8)]
    assert risk(positives, [], identity) == pytest.approx(0.9)
    # A look-alike in frame 0 costs 0.5 * (0.95 - 0.25) there, so that frame 1 sets the risk.
    assert risk(positives, [Match(0, "n", "negative", 0.95)], identity) == pytest.approx(0.8)
    both = [Match(frame, "n", "negative", 0.95) for frame in (0, 1)]
    assert risk(positives, both, identity) == pytest.approx(0.9 - 0.35)
    assert risk(positives, both, identity, negative_margin=1.0) == pytest.approx(0.9)
    assert risk([], both, identity) == 0.0


def test_matches_explain_the_risk() -> None:
    positives = [
        Match(f, seed, "golden", s) for f, seed, s in [(0, "a", 0.5), (3, "a", 0.7), (1, "b", 0.6), (2, "c", 0.1)]
    ]
    found = risk_of(positives, [], Background.identity(), negative_weight=0.5, negative_margin=0.2, max_matches=2)
    assert found.matches == (positives[1], positives[2])


@given(positives=matches(kinds), negatives=matches(st.just("negative")), background=backgrounds, weight=st.floats(0, 3))
def test_risk_is_bounded_and_negatives_never_raise_it(
    positives: list[Match], negatives: list[Match], background: Background, weight: float
) -> None:
    with_them = risk(positives, negatives, background, negative_weight=weight)
    assert 0.0 <= with_them <= risk(positives, [], background, negative_weight=weight) <= 1.0


@given(positives=matches(kinds), negatives=matches(st.just("negative")), more=matches(kinds), background=backgrounds)
def test_more_positives_never_lower_it(
    positives: list[Match], negatives: list[Match], more: list[Match], background: Background
) -> None:
    assert risk(positives + more, negatives, background) >= risk(positives, negatives, background)


@given(positives=matches(kinds), negatives=matches(st.just("negative")), background=backgrounds)
def test_order_does_not_matter(positives: list[Match], negatives: list[Match], background: Background) -> None:
    rule = {"negative_weight": 0.5, "negative_margin": 0.25}
    assert risk_of(positives, negatives, background, **rule).value == (
        risk_of(positives[::-1], negatives[::-1], background, **rule).value
    )


def test_of_matches_of_one_level_the_more_similar_is_kept() -> None:
    matches = [Match(0, "far", "golden", -0.5), Match(1, "near", "golden", -0.2)]
    for positives in (matches, matches[::-1]):
        found = risk_of(positives, (), Background.identity(), negative_weight=1.0, negative_margin=0.5, max_matches=1)
        assert [match.seed_id for match in found.matches] == ["near"]
