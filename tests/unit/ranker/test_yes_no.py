"""Which tokens are Yes and No, and what a distribution says about them."""

import math

import numpy as np
import pytest

from ranker_svc.engines.protocol import EngineStartError
from ranker_svc.engines.yes_no import AnswerTokens, answer_tokens, common_prefix, read_answer, read_logprobs

VOCABULARY = {"Yes": 1000, " Yes": 1001, "No": 1002, " No": 1003, " no": 1004}


def greedy(text: str, vocabulary: dict[str, int] = VOCABULARY) -> list[int]:
    """A tokenizer that takes the longest piece it knows, else one character."""
    ids = []
    while text:
        piece = max((p for p in vocabulary if text.startswith(p)), key=len, default=text[0])
        ids.append(vocabulary[piece] if piece in vocabulary else ord(piece))
        text = text[len(piece) :]
    return ids


def test_every_single_token_spelling_is_found() -> None:
    assert answer_tokens(greedy, "ASSISTANT:") == AnswerTokens(yes=(1000, 1001), no=(1002, 1003, 1004))


def test_a_spelling_that_changes_the_prompt_does_not_count() -> None:
    # After "ASSISTANT: " the space belongs to the prompt; with the word behind it, the tokenizer would merge both.
    found = answer_tokens(lambda text: greedy(text, {**VOCABULARY, "Yes": 7, "No": 8}), "ASSISTANT:\n")
    assert found.yes == (7, 1001)
    with pytest.raises(EngineStartError, match="single token"):
        answer_tokens(lambda text: greedy(text, {" Yes": 7, " No": 8, "  No": 9}), "ASSISTANT: ")


def test_a_tokenizer_without_such_tokens_is_refused() -> None:
    with pytest.raises(EngineStartError, match="'no'"):
        answer_tokens(lambda text: greedy(text, {" Yes": 1}), "ASSISTANT:")


def test_read_answer_sums_spellings() -> None:
    logits = np.log(np.array([0.1, 0.2, 0.3, 0.25, 0.15], dtype=np.float32)) + np.float32(5)
    answer = read_answer(logits, AnswerTokens(yes=(1, 2), no=(3,)))
    assert answer.logit_yes - answer.logit_no == pytest.approx(np.log(0.5 / 0.25), abs=1e-6)
    assert answer.answer_mass == pytest.approx(0.75, abs=1e-6)


def test_read_answer_survives_large_logits_and_refuses_nan() -> None:
    tokens = AnswerTokens(yes=(0,), no=(1,))
    assert read_answer(np.array([3e4, -3e4, 0], dtype=np.float32), tokens).answer_mass == 1.0
    with pytest.raises(FloatingPointError, match="dtype"):
        read_answer(np.array([np.nan, 0, 0], dtype=np.float32), tokens)


@pytest.mark.parametrize(
    ("sequences", "expected"),
    [([[1, 2, 3]], 2), ([[1, 2, 3], [1, 2, 4]], 2), ([[1, 2], [1, 2, 3]], 1), ([[1, 2], [3, 4]], 0)],
)
def test_common_prefix_leaves_each_a_token(sequences: list[list[int]], expected: int) -> None:
    assert common_prefix(sequences) == expected


def test_logprobs_say_what_logits_say() -> None:
    logits = np.array([0.5, 3.0, -1.0, 2.0, 0.0, 4.0], dtype=np.float32)
    logprobs = logits - np.log(np.exp(logits).sum())
    expected = read_answer(logits, AnswerTokens(yes=(1, 3), no=(0, 2)))
    found = read_logprobs([float(logprobs[i]) for i in (1, 3)], [float(logprobs[i]) for i in (0, 2)])
    assert found.logit_yes - found.logit_no == pytest.approx(expected.logit_yes - expected.logit_no)
    assert found.answer_mass == pytest.approx(expected.answer_mass)


@pytest.mark.parametrize("yes", [[math.nan], [-math.inf], [-math.inf, -math.inf]])
def test_logprobs_that_are_not_finite_are_refused(yes: list[float]) -> None:
    with pytest.raises(FloatingPointError, match="no finite logits for Yes"):
        read_logprobs(yes, [-0.1])


def test_a_spelling_without_probability_is_no_fault() -> None:
    assert read_logprobs([-math.inf, math.log(0.25)], [math.log(0.5)]).answer_mass == pytest.approx(0.75)
