"""What the router asks of the ranker, and the answer."""

from typing import Annotated, Literal

from pydantic import Base64Bytes, FailFast, Field

from services.contracts.base import Probability, PromptName, RequestModel, ResultModel, Seconds, Timings
from services.contracts.context import Context
from services.contracts.policy_slice import IssueQuestions

QuestionKind = Literal["fine_grained", "overall", "sequential"]
"""`sequential` is P3, which puts both questions in one prompt and takes one answer."""


class Frame(RequestModel):
    """One video frame."""

    time_s: Seconds
    jpeg: Base64Bytes = Field(description="JPEG file, base64.", max_length=4_000_000)


class RankRequest(RequestModel):
    """Frames in order of time, and the issues to judge on them."""

    # The first wrong one ends the check: a list of wrong ones would keep the event loop.
    frames: Annotated[tuple[Frame, ...], FailFast(), Field(min_length=1, max_length=64)]
    context: Context = Context()
    issues: Annotated[tuple[IssueQuestions, ...], FailFast(), Field(min_length=1, max_length=256)]


class Answer(ResultModel):
    """The model's answer to one prompt (Filter-And-Refine, Algorithm 1)."""

    question: QuestionKind
    logit_yes: float = Field(description="Log-sum-exp of the logits of all single-token spellings of Yes.")
    logit_no: float = Field(description="Log-sum-exp of the logits of all single-token spellings of No.")
    p_yes: Probability = Field(description="softmax(logit_yes, logit_no)[0].")
    answer_mass: Probability = Field(
        description="Share of the model's whole next-token distribution that lies on Yes and No; low means that the "
        "model wanted to say something else."
    )


class IssueRank(ResultModel):
    """The ranker's judgement of one issue."""

    id: str
    prompt: PromptName
    answers: tuple[Answer, ...]
    score: Probability = Field(description="The answers after assembly, uncalibrated.")
    probability: Probability = Field(description="The score after calibration: probability that the issue is violated.")
    calibrator: str | None = Field(description="Id of the calibrator that was applied; null where none was.")


class ModelIdentity(ResultModel):
    """Which model answered."""

    name: str
    fingerprint: str = Field(description="Hash of weights and configuration.")
    engine: str = Field(description="`reference`, `vllm` or `openai`.")
    configuration: str = Field(
        default="",
        description="Hash of calibrators and of every setting and version of the ranker that can change an answer; "
        "empty where it is not known.",
    )


class RankResult(ResultModel):
    """The ranker's answer to a RankRequest."""

    issues: tuple[IssueRank, ...]
    model: ModelIdentity
    warnings: tuple[str, ...] = Field(default=(), description="E.g. a calibrator fitted for another model.")
    timings: Timings = Timings()
