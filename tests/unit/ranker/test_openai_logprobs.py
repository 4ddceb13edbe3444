"""Reading log-probabilities of a chat completion: what is summed, what a missing token counts, what is refused."""

import json
import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ranker_svc.answers import p_yes
from ranker_svc.engines.openai.logprobs import REST_FLOOR, Listed, OddAnswer, first_position, read_token_ids, read_top
from ranker_svc.engines.yes_no import AnswerTokens

TOKENS = AnswerTokens(yes=(3, 5), no=(4,))


def top(**probabilities: float) -> list[Listed]:
    return [Listed(token, math.log(p)) for token, p in probabilities.items()]


def completion(position: Any) -> bytes:
    return json.dumps({"choices": [{"logprobs": {"content": [position]}}]}).encode()


def test_named_tokens_are_summed_and_others_left_out() -> None:
    answer = read_token_ids([*top(x=0.1), *_named({3: 0.25, 5: 0.125, 4: 0.25})], TOKENS)
    assert math.exp(answer.logit_yes) == pytest.approx(0.375)
    assert p_yes(answer) == pytest.approx(0.6)
    assert answer.answer_mass == pytest.approx(0.625)


def test_a_named_token_that_is_missing_is_refused() -> None:
    with pytest.raises(OddAnswer, match="missing"):
        read_token_ids(_named({3: 0.5, 4: 0.5}), TOKENS)


def test_spellings_of_any_case_and_space_are_summed() -> None:
    listed = [
        Listed(token, math.log(p)) for token, p in {" Yes": 0.25, "yes\n": 0.125, "NO": 0.25, "Yes!": 0.2}.items()
    ]
    answer = read_top(listed)
    assert p_yes(answer) == pytest.approx(0.6)
    assert answer.answer_mass == pytest.approx(0.625)


def test_a_missing_token_gets_the_least_of_what_is_left_and_what_is_listed() -> None:
    # 0.1 is left over, and the least likely token listed has 0.2: No has 0.1 at most.
    assert math.exp(read_top(top(Yes=0.7, maybe=0.2)).logit_no) == pytest.approx(0.1)
    # 0.28 is left over, and what is not listed cannot be likelier than 0.02.
    answer = read_top(top(Yes=0.7, maybe=0.02))
    assert math.exp(answer.logit_no) == pytest.approx(0.02)
    assert answer.answer_mass == pytest.approx(0.7)
    # Nothing is left over, as far as rounding tells.
    assert math.exp(read_top(top(No=0.9, maybe=0.1)).logit_yes) == pytest.approx(REST_FLOOR)


def test_without_both_nothing_is_known() -> None:
    answer = read_top(top(maybe=0.7, perhaps=0.2))
    assert (p_yes(answer), answer.answer_mass) == (0.5, 0.0)


def test_the_mark_for_unknown_is_no_probability() -> None:
    answer = read_top([*top(Yes=0.9, maybe=0.05), Listed(" No", -9999.0)])
    assert math.exp(answer.logit_no) == pytest.approx(0.05)
    with pytest.raises(OddAnswer):
        read_top([Listed("Yes", -9999.0)])


@given(
    st.dictionaries(st.sampled_from(["Yes", " yes", "No", " NO", "a", "b", "c"]), st.floats(1e-9, 1.0), min_size=1),
    st.floats(0.0, 1.0),
)
def test_whatever_is_listed_the_bounds_hold(weights: dict[str, float], unlisted: float) -> None:
    total = sum(weights.values()) / (1.0 - 0.5 * unlisted)
    probabilities = {token: weight / total for token, weight in weights.items()}
    assume(all(p > 0.0 for p in probabilities.values()))
    answer = read_top([Listed(token, math.log(p)) for token, p in probabilities.items()])
    assert 0.0 <= p_yes(answer) <= 1.0
    yes, no = (sum(p for token, p in probabilities.items() if token.strip().lower() == word) for word in ("yes", "no"))
    assert answer.answer_mass == pytest.approx(yes + no, abs=1e-9)
    # A token that is missing is never taken for likelier than one that is listed.
    if yes and not no:
        assert answer.logit_no <= math.log(min(probabilities.values())) + 1e-9 <= answer.logit_yes + 2e-9
    if yes and no:
        assert p_yes(answer) == pytest.approx(yes / (yes + no))


@given(st.floats(1e-6, 0.98), st.floats(1e-6, 1.0), st.integers(2, 40))
def test_both_readings_agree_where_both_tokens_are_listed(yes: float, share: float, others: int) -> None:
    no = (1.0 - yes) * share
    rest = top(**{f"w{i}": max(1e-12, (1.0 - yes - no) / others) for i in range(others)})
    by_rank = read_top([*top(Yes=yes, No=no), *rest])
    by_name = read_token_ids(_named({3: yes, 4: no}), AnswerTokens(yes=(3,), no=(4,)))
    assert p_yes(by_rank) == pytest.approx(p_yes(by_name))
    assert by_rank.answer_mass == pytest.approx(by_name.answer_mass)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{}]}',
        b'{"choices": [{"logprobs": null}]}',
        b'{"choices": [{"logprobs": {"content": []}}]}',
        b'{"choices": [{"logprobs": {"content": [{"token": "Yes", "logprob": NaN}]}}]}',
        b'{"choices": [{"logprobs": {"content": [{"token": "Yes", "logprob": -Infinity}]}}]}',
        completion({"token": "Yes", "logprob": 3.0}),
        completion({"token": "Yes", "logprob": None}),
        completion({"token": "Yes", "logprob": -1.0, "top_logprobs": [{"token": "No"}]}),
    ],
)
def test_an_odd_answer_is_refused(content: bytes) -> None:
    with pytest.raises(OddAnswer):
        first_position(content)


def test_more_than_a_whole_distribution_is_refused() -> None:
    with pytest.raises(OddAnswer, match="more than 1"):
        read_top(top(Yes=0.9, No=0.9))
    with pytest.raises(OddAnswer, match="more than 1"):
        read_token_ids(_named({3: 0.9, 5: 0.1, 4: 0.9}), TOKENS)


def test_the_chosen_token_counts_though_it_is_not_listed() -> None:
    position = {"token": "No", "logprob": math.log(0.5), "top_logprobs": [{"token": "Yes", "logprob": math.log(0.25)}]}
    assert p_yes(read_top(first_position(completion(position)))) == pytest.approx(1 / 3)


def _named(probabilities: dict[int, float]) -> list[Listed]:
    return [Listed(f"token_id:{token}", math.log(p)) for token, p in probabilities.items()]
