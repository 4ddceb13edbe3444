"""Response models that the gateway alone uses."""

from pydantic import Field

from services.contracts import IssueId, Probability, ResultModel
from services.policy import Policy


class IssueView(ResultModel):
    """One issue as clients may see it."""

    id: IssueId
    name: str
    definition: str
    router_threshold: Probability = Field(description="The ranker is asked where the router's risk is at least this.")
    review_threshold: Probability = Field(description="A probability of at least this means review.")
    block_threshold: Probability = Field(description="A probability of at least this means block.")


class PolicyView(ResultModel):
    """The policy as clients may see it."""

    name: str
    version: str
    policy_hash: str = Field(description="Content hash; every decision carries the hash of the policy it was made by.")
    issues: tuple[IssueView, ...]

    @classmethod
    def of(cls, policy: Policy) -> "PolicyView":
        """The view of a policy."""
        return cls(
            name=policy.name,
            version=policy.version,
            policy_hash=policy.content_hash,
            issues=tuple(
                IssueView(
                    id=issue.id,
                    name=issue.name,
                    definition=issue.definition,
                    router_threshold=issue.router.threshold,
                    review_threshold=issue.actions.review,
                    block_threshold=issue.actions.block,
                )
                for issue in policy.issues
            ),
        )
