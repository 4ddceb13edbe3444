"""What the gateway asks of the router, and the answer."""

from typing import Literal

from pydantic import Field

from services.contracts.base import (
    IssueId,
    Mode,
    Probability,
    RequestModel,
    ResultModel,
    Seconds,
    SeedKind,
    Sha256,
    Timings,
)
from services.contracts.context import Context
from services.contracts.media import MediaFacts
from services.contracts.policy_slice import PolicySlice
from services.contracts.rank import RankResult

RankMissing = Literal["not_escalated", "unavailable", "overloaded", "deadline", "refused"]
"""Why a RouteResult carries no ranker answer. `refused`: the ranker called the request invalid."""


class RouteRequest(RequestModel):
    """The JSON part of a route request; the video is a part of its own."""

    sha256: Sha256 = Field(description="Of the video's bytes; the router checks it.")
    context: Context = Context()
    policy: PolicySlice
    mode: Mode = "cascade"


class SeedMatch(ResultModel):
    """A seed that resembles a frame of the video."""

    seed_id: str
    kind: SeedKind
    similarity: float = Field(ge=-1.0, le=1.0, description="Cosine.")
    frame_time_s: Seconds = Field(description="The frame of this video that matched.")


class IssueRisk(ResultModel):
    """The router's judgement of one issue."""

    id: IssueId
    risk: Probability = Field(description="Normalised risk; see services.scoring.")
    threshold: Probability
    escalated: bool
    matches: tuple[SeedMatch, ...] = Field(default=(), description="The best matches, most similar first.")


class RouteResult(ResultModel):
    """The router's answer to a RouteRequest."""

    media: MediaFacts
    frame_times_s: tuple[Seconds, ...] = Field(description="Times of the frames that were embedded.")
    encoder: str = Field(description="Fingerprint of the encoder.")
    bank_revision: str = Field(description="Changes whenever the searchable seeds change.")
    configuration: str = Field(default="", description="See RouterState; empty where it is not known.")
    issues: tuple[IssueRisk, ...]
    rank: RankResult | None = None
    rank_frame_times_s: tuple[Seconds, ...] = Field(default=(), description="Times of the frames sent to the ranker.")
    rank_missing: RankMissing | None = None
    warnings: tuple[str, ...] = Field(default=(), description="E.g. an issue that the bank has no seeds for.")
    timings: Timings = Timings()
