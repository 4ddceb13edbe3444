"""Seeds of the bank: what operators send to the router, and what it tells about them."""

from typing import Self

from pydantic import AwareDatetime, Field, model_validator

from services.contracts.base import IssueId, RequestModel, ResultModel, Seconds, SeedKind, Sha256


class SeedRequest(RequestModel):
    """The JSON part of a request that adds a seed; the video is a part of its own."""

    issue: IssueId
    kind: SeedKind = "golden"
    start_s: Seconds = Field(default=0.0, description="Start of the segment that shows the issue.")
    end_s: Seconds | None = Field(default=None, description="End of the segment; null means the end of the video.")
    note: str = Field(default="", max_length=1_000)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError("end_s must be greater than start_s")
        return self


class Seed(ResultModel):
    """A searchable seed: a segment of a video, held as several frame vectors."""

    id: str = Field(description="Derived from bytes, segment, issue and kind: the same seed added twice is one seed.")
    issue: IssueId
    kind: SeedKind
    start_s: Seconds
    end_s: Seconds
    sha256: Sha256 = Field(description="Of the video's bytes.")
    vectors: int = Field(ge=1, description="Frame vectors under this seed.")
    note: str = ""
    created_at: AwareDatetime


class BankStatus(ResultModel):
    """How large the bank is."""

    revision: str
    encoder: str
    seeds: dict[str, int] = Field(description="Searchable seeds of each issue, negatives included.")
    vectors: int = Field(ge=0)
