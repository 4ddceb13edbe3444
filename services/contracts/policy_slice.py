"""The part of the policy that travels with a request: resolved once by the gateway, obeyed by router and ranker."""

from typing import Annotated, Self

from pydantic import FailFast, Field, model_validator

from services.contracts.base import AssemblyMethod, ContextUse, IssueId, Probability, PromptName, RequestModel


class Assembly(RequestModel):
    """How an issue's answers become one score."""

    method: AssemblyMethod = "weighted_sum"
    fine_weight: Probability = Field(
        default=0.5,
        description="Weight of the fine-grained probability in `weighted_sum`; the overall one has the rest.",
    )


class IssueQuestions(RequestModel):
    """What the ranker needs to judge one issue."""

    id: IssueId
    name: str = Field(min_length=1, max_length=100, description="Name in words, used in the question.")
    definition: str = Field(min_length=1, max_length=2_000, description="Definition, used by prompt P4.")
    prompt: PromptName = "P2"
    assembly: Assembly = Assembly()
    context: ContextUse = Field(
        default="guarded",
        description="The uploader's text: `shown`, `ignored`, or `guarded` (asked both ways, the higher counts).",
    )
    calibrator: str | None = Field(
        default=None, max_length=128, description="Id of the calibrator; null leaves the score as it is."
    )


class IssuePolicy(IssueQuestions):
    """What the router needs to filter one issue, and to ask about it."""

    router_threshold: Probability = Field(description="The issue is escalated where its risk is at least this.")
    review_threshold: Probability = Field(
        default=0.5,
        description="Calibrated probability from which the issue counts as violated: seeds are judged by it.",
    )
    ask_with: Annotated[tuple[IssueId, ...], FailFast()] = Field(
        default=(), max_length=64, description="Siblings asked whenever this issue escalates."
    )


class PolicySlice(RequestModel):
    """The issues of one request, with the hash of the whole policy they come from."""

    policy_hash: str = Field(pattern=r"^[0-9a-f]{12,64}$", description="Content hash of the policy.")
    # The first wrong one ends the check: a list of wrong ones would keep the event loop.
    issues: Annotated[tuple[IssuePolicy, ...], FailFast(), Field(min_length=1, max_length=256)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        ids = [issue.id for issue in self.issues]
        if len(set(ids)) < len(ids):
            twice = next(each for index, each in enumerate(ids) if each in ids[:index])
            raise ValueError(f"the issue {twice} stands twice in the slice")
        return self
