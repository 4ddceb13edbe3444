"""What the gateway answers: one decision about one video."""

from typing import Literal

from pydantic import AwareDatetime, Field

from services.contracts.base import IssueId, Mode, Probability, ResultModel, Seconds, Sha256, Timings
from services.contracts.media import MediaFacts
from services.contracts.rank import Answer
from services.contracts.route import RankMissing, SeedMatch

Verdict = Literal["allow", "review", "block", "pending"]
Route = Literal["filtered", "refined", "degraded", "cached"]
"""`filtered`: the router let it pass. `refined`: the ranker judged it. `degraded`: a service was missing and the
policy's fail mode spoke. `cached`: an earlier result for the same video and question was judged anew by the policy."""

Reason = Literal["filtered", "ranker_probability", "ranker_missing", "router_missing"]
"""What an issue's verdict rests on."""


class IssueDecision(ResultModel):
    """The verdict on one issue and every number that led to it; a number is null where its stage did not run."""

    id: IssueId
    name: str
    verdict: Verdict
    reason: Reason
    escalated: bool = Field(description="The router found it risky (mode `full`: always).")
    risk: Probability | None = Field(default=None, description="The router's risk.")
    router_threshold: Probability
    probability: Probability | None = Field(default=None, description="The ranker's calibrated probability.")
    score: Probability | None = Field(default=None, description="The ranker's score before calibration.")
    answers: tuple[Answer, ...] = ()
    review_threshold: Probability
    block_threshold: Probability
    evidence: tuple[SeedMatch, ...] = Field(default=(), description="Seeds and the frame times that matched them.")


class ModelsUsed(ResultModel):
    """Fingerprints of everything that shaped the decision."""

    encoder: str | None = None
    bank_revision: str | None = None
    ranker: str | None = None
    engine: str | None = None
    calibrators: tuple[str, ...] = ()


class Decision(ResultModel):
    """The gateway's decision about one video."""

    id: str = Field(description="Identifier; `GET /v1/decisions/{id}` gives the decision again.")
    created_at: AwareDatetime
    verdict: Verdict = Field(description="The severest verdict of any issue: block, then review, then allow.")
    route: Route
    mode: Mode
    issues: tuple[IssueDecision, ...]
    sha256: Sha256 = Field(description="Of the video's bytes.")
    media: MediaFacts | None = Field(default=None, description="Null where the router was missing.")
    frame_times_s: tuple[Seconds, ...] = ()
    policy_hash: str
    models: ModelsUsed = ModelsUsed()
    rank_missing: RankMissing | None = Field(default=None, description="Why the ranker has no say, where it has none.")
    warnings: tuple[str, ...] = ()
    timings: Timings = Timings()
    request_id: str
    trace_id: str
