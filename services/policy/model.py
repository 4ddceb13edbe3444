"""The policy's model: issues with router, ranker and action settings, fail modes, content hash, travelling slice."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from services.contracts import (
    Assembly,
    ContextUse,
    IssueId,
    IssuePolicy,
    PolicySlice,
    Probability,
    PromptName,
    RequestModel,
)
from services.errors import UnknownIssue
from services.policy.consistency import consistency_problems, format_path

FailMode = Literal["review", "allow", "block"]
"""The verdict on an issue whose judge is missing."""


class RouterSettings(RequestModel):
    """When the router escalates an issue."""

    threshold: Probability = Field(description="The issue is escalated where the router's risk is at least this.")
    ask_with: Annotated[tuple[IssueId, ...], Field(max_length=64)] = Field(
        default=(), description="Siblings that the ranker is asked about too whenever this issue escalates."
    )


class RankerSettings(RequestModel):
    """How the ranker is asked about an issue, and how its answers become one probability."""

    prompt: PromptName = "P2"
    assembly: Assembly = Assembly()
    context: ContextUse = Field(default="guarded", description="What the uploader's text may do to the score.")
    calibrator: str | None = Field(default=None, min_length=1, max_length=128)


class Actions(RequestModel):
    """Thresholds on the calibrated probability; `review` is at most `block`."""

    review: Probability = Field(description="From here on a person looks at the video.")
    block: Probability = Field(description="From here on the video is not published.")


class FailModes(RequestModel):
    """What a missing service means."""

    ranker_missing: FailMode = Field(default="review", description="For escalated issues that got no answer.")
    router_missing: FailMode = Field(default="review", description="For every issue of the request.")


class PolicyIssue(RequestModel):
    """One kind of violation."""

    id: IssueId
    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    definition: Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
    router: RouterSettings
    ranker: RankerSettings = RankerSettings()
    actions: Actions
    ranker_missing: FailMode | None = Field(default=None, description="Overrides the policy's fail mode.")


class Policy(RequestModel):
    """A whole policy, defaults already merged into its issues; immutable, versioned by `content_hash`."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    version: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    fail_modes: FailModes = FailModes()
    issues: Annotated[tuple[PolicyIssue, ...], Field(min_length=1, max_length=256)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = consistency_problems(self.model_dump(mode="json"))
        if problems:
            raise ValueError("; ".join(f"{format_path(path)}: {detail}" for path, detail in problems))
        return self

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 (64 hex digits) of the policy as canonical JSON; comments and layout do not change it."""
        content: dict[str, Any] = self.model_dump(mode="json")
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @cached_property
    def issue_ids(self) -> tuple[str, ...]:
        """Ids of all issues, in the order of the file."""
        return tuple(issue.id for issue in self.issues)

    def issue(self, issue_id: str) -> PolicyIssue:
        """The issue of that id.

        Raises:
            UnknownIssue: the policy has no such issue.
        """
        self._require_known((issue_id,))
        return self.issues[self.issue_ids.index(issue_id)]

    def ranker_missing(self, issue_id: str) -> FailMode:
        """The verdict on an escalated issue that got no answer from the ranker.

        Raises:
            UnknownIssue: the policy has no such issue.
        """
        return self.issue(issue_id).ranker_missing or self.fail_modes.ranker_missing

    def slice(self, issues: Sequence[str] | None = None) -> PolicySlice:
        """What travels with a request: the named issues, in the order of the file; all of them for None.

        A sibling in `ask_with` that was not requested is dropped: the ranker is asked about nothing that the caller
        left out, and a decision holds no issue that was not requested.

        Raises:
            UnknownIssue: one or more ids are not in the policy; the error names the known ones.
        """
        requested = set(self.issue_ids if issues is None else issues)
        self._require_known(tuple(requested))
        return PolicySlice(
            policy_hash=self.content_hash,
            issues=tuple(_travelling(issue, requested) for issue in self.issues if issue.id in requested),
        )

    def _require_known(self, ids: Sequence[str]) -> None:
        unknown = sorted(set(ids) - set(self.issue_ids))
        if unknown:
            raise UnknownIssue(f"unknown: {', '.join(unknown)}; the policy knows: {', '.join(self.issue_ids)}")


def _travelling(issue: PolicyIssue, requested: set[str]) -> IssuePolicy:
    return IssuePolicy(
        id=issue.id,
        name=issue.name,
        definition=issue.definition,
        prompt=issue.ranker.prompt,
        assembly=issue.ranker.assembly,
        context=issue.ranker.context,
        calibrator=issue.ranker.calibrator,
        router_threshold=issue.router.threshold,
        review_threshold=issue.actions.review,
        ask_with=tuple(sibling for sibling in issue.router.ask_with if sibling in requested),
    )
