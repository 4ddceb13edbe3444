"""Which tokens mean Yes and No after a rendered prompt, and what a distribution says about them. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ranker_svc.engines.protocol import EngineStartError, RawAnswer

Tokenize = Callable[[str], list[int]]


@dataclass(frozen=True)
class AnswerTokens:
    """Token ids of all single-token spellings of Yes and of No; neither is empty, no id is in both."""

    yes: tuple[int, ...]
    no: tuple[int, ...]


def answer_tokens(tokenize: Tokenize, rendered: str) -> AnswerTokens:
    """Find the ids that spell Yes and No as the first token after a prompt.

    A spelling counts where the tokenizer, given the rendered prompt with the spelling behind it, yields the prompt's
    own tokens and exactly one more: so it is known to follow this template, whatever marks the tokenizer puts on words.

    Args:
        tokenize: text to ids, as prompts are tokenized.
        rendered: a prompt after the chat template, generation prompt included.

    Raises:
        EngineStartError: Yes or No has no single-token spelling there.
    """
    before = tokenize(rendered)
    found = {word: _spellings(tokenize, rendered, before, word) for word in ("yes", "no")}
    for word, ids in found.items():
        if not ids:
            raise EngineStartError(
                f"no spelling of {word!r} is a single token after the chat template, which ends with "
                f"{rendered[-24:]!r}: the answer cannot be read from one token. Use another model or template."
            )
    return AnswerTokens(found["yes"], found["no"])


def _spellings(tokenize: Tokenize, rendered: str, before: list[int], word: str) -> tuple[int, ...]:
    ids = set()
    for text in _continued(rendered, word):
        after = tokenize(text)
        if len(after) == len(before) + 1 and after[: len(before)] == before:
            ids.add(after[-1])
    return tuple(sorted(ids))


def _continued(rendered: str, word: str) -> list[str]:
    return [rendered + space + each for each in (word, word.capitalize(), word.upper()) for space in ("", " ")]


def texts_to_tokenize(rendered: str) -> tuple[str, ...]:
    """Every text that `answer_tokens` tokenizes, for a tokenizer that has to be asked beforehand."""
    return (rendered, *_continued(rendered, "yes"), *_continued(rendered, "no"))


def read_answer(logits: NDArray[np.float32], tokens: AnswerTokens) -> RawAnswer:
    """Reduce the next-token logits [vocabulary] to one answer (Filter-And-Refine, Algorithm 1, steps 4 to 12).

    Raises:
        FloatingPointError: the logits of the answers are not finite, e.g. by overflow of float16.
    """
    values = logits.astype(np.float64)
    yes, no = _log_sum_exp(values[list(tokens.yes)]), _log_sum_exp(values[list(tokens.no)])
    _check_finite(yes, no)
    mass = float(np.exp(np.logaddexp(yes, no) - _log_sum_exp(values)))
    return RawAnswer(logit_yes=yes, logit_no=no, answer_mass=min(1.0, max(0.0, mass)))


def read_logprobs(yes: Sequence[float], no: Sequence[float]) -> RawAnswer:
    """Reduce the log-probabilities of the answers' tokens, over the whole vocabulary, to one answer.

    Log-probabilities are logits up to one constant, which p(Yes) and the mass do not depend on.

    Args:
        yes: of all spellings of Yes, each at most 0, at least one.
        no: the same for No.

    Raises:
        FloatingPointError: no finite value for Yes or none for No.
    """
    logit_yes, logit_no = (_log_sum_exp(np.asarray(values, dtype=np.float64)) for values in (yes, no))
    _check_finite(logit_yes, logit_no)
    mass = float(np.exp(np.logaddexp(logit_yes, logit_no)))
    return RawAnswer(logit_yes=logit_yes, logit_no=logit_no, answer_mass=min(1.0, mass))


def _check_finite(yes: float, no: float) -> None:
    if not (np.isfinite(yes) and np.isfinite(no)):
        raise FloatingPointError(f"the model gave no finite logits for Yes ({yes}) and No ({no}); try another dtype")


def _log_sum_exp(values: NDArray[np.float64]) -> float:
    peak = float(values.max())
    return peak + float(np.log(np.exp(values - peak).sum())) if np.isfinite(peak) else peak


def common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """Tokens that all sequences begin with; one less than the shortest has at most, so that each has a token left."""
    limit = min(map(len, sequences)) - 1
    first = sequences[0]
    length = 0
    while length < limit and all(sequence[length] == first[length] for sequence in sequences):
        length += 1
    return length
