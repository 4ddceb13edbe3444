"""From a chat completion's log-probabilities to one answer. Pure; what cannot be read is refused, never guessed."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from ranker_svc.engines.protocol import RawAnswer
from ranker_svc.engines.yes_no import AnswerTokens, read_logprobs

REST_FLOOR = 1e-6
"""Least probability mass that a token which is not listed is given the benefit of: what listed ones leave over is known
no better, since servers round."""

_UNKNOWN = -9990.0
"""Servers write -9999 for a token whose log-probability they do not give."""

_MAX_MASS = 1.01
"""Of a distribution; above 1 by what servers round."""

LogProbability = Annotated[float, Field(le=math.log(_MAX_MASS), allow_inf_nan=False)]


class OddAnswer(ValueError):
    """The server's answer holds no distribution that can be read; the message is safe to show."""


@dataclass(frozen=True)
class Listed:
    """A token of the first position, as the server writes it, and its log-probability."""

    token: str
    logprob: float


class _Token(BaseModel):
    token: str
    logprob: LogProbability


class _Position(_Token):
    top_logprobs: list[_Token] | None = None


class _Logprobs(BaseModel):
    content: list[_Position] = Field(min_length=1)


class _Choice(BaseModel):
    logprobs: _Logprobs


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)


def first_position(content: bytes) -> tuple[Listed, ...]:
    """The tokens listed for the first token of a completion, the one that was chosen among them.

    Raises:
        OddAnswer: it is no completion with finite log-probabilities.
    """
    try:
        position = _Completion.model_validate_json(content).choices[0].logprobs.content[0]
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, wrong["loc"])) or "the body"
        raise OddAnswer(f"no completion with log-probabilities: {place}: {wrong['type']}") from error
    found = [Listed(each.token, each.logprob) for each in position.top_logprobs or ()]
    if position.token not in {each.token for each in found}:
        found.append(Listed(position.token, position.logprob))
    return tuple(found)


def read_token_ids(listed: Sequence[Listed], tokens: AnswerTokens) -> RawAnswer:
    """The answer where the server gave the log-probability of every token that was named (`token_id:<id>`).

    Log-probabilities are logits but for one constant, so they carry `logit_yes` and `logit_no`.

    Raises:
        OddAnswer: one is missing, or their mass is more than 1.
    """
    by_name = {each.token: each.logprob for each in listed}
    try:
        yes, no = ([by_name[f"token_id:{token}"] for token in ids] for ids in (tokens.yes, tokens.no))
    except KeyError as error:
        raise OddAnswer("the log-probability of a token that was named is missing") from error
    _mass((*yes, *no))
    return read_logprobs(yes, no)


def read_top(listed: Sequence[Listed]) -> RawAnswer:
    """The answer where the server lists its likeliest tokens.

    Tokens that are yes or no, whatever their case and the white space around them, are summed. Where all spellings of
    one are missing, it is given an upper bound: it cannot be likelier than the least likely token listed, nor than what
    the listed ones leave over (never taken as less than REST_FLOOR). The answer mass counts listed tokens alone. Where
    both are missing nothing is known: the logits are equal, p is 0.5 and the mass 0, which draws a warning.

    Raises:
        OddAnswer: nothing is listed, or their mass is more than 1.
    """
    known = [each for each in listed if each.logprob > _UNKNOWN]
    if not known:
        raise OddAnswer("no token has a log-probability")
    rest = 1.0 - _mass(each.logprob for each in known)
    bound = min(*(each.logprob for each in known), math.log(max(rest, REST_FLOOR)))
    words: dict[str, list[float]] = {"yes": [], "no": []}
    for each in known:
        words.get(each.token.strip().casefold(), []).append(each.logprob)
    yes, no = words["yes"], words["no"]
    answer = read_logprobs(yes or [bound], no or [bound])
    return replace(answer, answer_mass=min(1.0, _mass((*yes, *no))))


def _mass(logprobs: Iterable[float]) -> float:
    """Their probability mass.

    Raises:
        OddAnswer: it is more than 1.
    """
    mass = math.fsum(map(math.exp, logprobs))
    if mass > _MAX_MASS:
        raise OddAnswer("the probabilities sum to more than 1")
    return mass
