"""Seeds of the bank: what operators send, and what router and gateway tell about them."""

import hashlib
import re
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Base64Bytes, Field, StringConstraints, model_validator

from services.contracts.base import IssueId, RequestModel, ResultModel, SeedKind, Sha256

MAX_NOTE = 1_000
MAX_TEXT = 500
MAX_SEED_FRAMES = 64
MAX_COUNT = 2**53
"""Of hits in an export: a database can add to it, and every JSON reader reads it."""

SEED_ID = re.compile(r"[0-9a-f]{32}")
SeedId = Annotated[
    str,
    StringConstraints(pattern=f"^{SEED_ID.pattern}$"),
    Field(description="32 hexadecimal digits of bytes, segment, issue and kind."),
]
SeedState = Literal["active", "paused", "quarantined", "removed"]
"""Only an active seed is searched for. `paused` by an operator, `quarantined` by the router's watch."""

OperatorState = Literal["active", "paused"]
Share = Annotated[
    float, Field(gt=0.0, le=1.0, allow_inf_nan=False, description="Share of the videos that the seed is compared with.")
]
SegmentTime = Annotated[float, Field(ge=0.0, le=10_000_000.0, allow_inf_nan=False, description="Seconds.")]
Note = Annotated[str, StringConstraints(max_length=MAX_NOTE)]
Why = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NOTE, strip_whitespace=True)]


class SeedRequest(RequestModel):
    """A new seed: a sentence, or a segment of the video that is sent beside this."""

    issue: IssueId
    kind: SeedKind = "golden"
    text: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_TEXT,
        description="The sentence of a seed of kind `text`, without a video.",
    )
    start_s: SegmentTime = Field(default=0.0, description="Start of the segment that shows the issue.")
    end_s: SegmentTime | None = Field(default=None, description="End of the segment; null means the end of the video.")
    state: OperatorState = "active"
    share: Share = 1.0
    expires_at: AwareDatetime | None = Field(default=None, description="From then on it is not searched for.")
    note: Note = ""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError("end_s must be greater than start_s")
        if (self.kind == "text") is not (self.text is not None):
            raise ValueError("a seed of kind `text` has a text, and no other kind has one")
        return self


class NewSeed(SeedRequest):
    """A new seed as operators name it to the gateway: sent, fetched, from a decision's evidence, or a sentence."""

    url: str | None = Field(default=None, max_length=4_096, description="Where the gateway fetches the video.")
    decision_id: str | None = Field(
        default=None, max_length=64, description="The decision whose stored video shows the violation."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(each is not None for each in (self.text, self.url, self.decision_id)) > 1:
            raise ValueError("give one of text, url and decision_id")
        return self

    def request(self) -> SeedRequest:
        """What the router is asked."""
        return SeedRequest.model_validate({name: getattr(self, name) for name in SeedRequest.model_fields})


class SeedChange(RequestModel):
    """What an operator changes about a seed; what is not named stays as it is."""

    state: OperatorState | None = Field(
        default=None, description="`active` also lifts a quarantine, and brings back a removed seed."
    )
    share: Share | None = None
    expires_at: AwareDatetime | None = Field(default=None, description="null, where it is named: never.")
    note: Note | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("name what shall change: state, share, expires_at or note")
        null = [name for name in sorted(self.model_fields_set - {"expires_at"}) if getattr(self, name) is None]
        if null:
            raise ValueError(f"{null[0]} cannot be null")
        return self

    def values(self) -> dict[str, object]:
        """The named fields and their values."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}


class SeedRemovalRequest(RequestModel):
    """What is said about a removal, in the query."""

    # What is left of it once it is stripped has a character: so says the pattern to those who know the document alone.
    why: Annotated[Why, Field(description="Why; kept with who did it.", json_schema_extra={"pattern": r"\S"})]


class SeedStats(ResultModel):
    """What the router saw of a seed, gathered in batches: some seconds old."""

    hits: int = Field(default=0, ge=0, description="Escalated videos that it was the best match of, for its issue.")
    confirmed: int = Field(default=0, ge=0, description="Of those, how many the ranker held to violate the issue.")
    refuted: int = Field(default=0, ge=0, description="Of those, how many the ranker held not to.")
    last_hit_at: AwareDatetime | None = None


class SeedRemoval(ResultModel):
    """The tombstone of a removed seed."""

    at: AwareDatetime
    by: str
    why: str


class Seed(ResultModel):
    """A seed: a segment of a video, held as several frame vectors, or a sentence."""

    id: SeedId
    version: int = Field(ge=1, description="Rises with every change; the ETag of the seed.")
    issue: IssueId
    kind: SeedKind
    state: SeedState
    share: Share
    expires_at: AwareDatetime | None = None
    text: str | None = None
    start_s: SegmentTime
    end_s: SegmentTime
    sha256: Sha256 = Field(description="Of the video's bytes, or of the sentence in UTF-8.")
    vectors: int = Field(ge=1, description="Frame vectors under this seed.")
    note: str = ""
    created_at: AwareDatetime
    created_by: str
    updated_at: AwareDatetime
    updated_by: str
    quarantined_why: str | None = None
    removed: SeedRemoval | None = None
    stats: SeedStats = SeedStats()


class SeedFilter(RequestModel):
    """Which seeds are listed, newest first."""

    issue: IssueId | None = None
    kind: SeedKind | None = None
    state: SeedState | None = Field(default=None, description="Absent: every state but `removed`.")
    cursor: str | None = Field(default=None, max_length=256, description="`next_cursor` of the page before.")
    limit: int = Field(default=50, ge=1, le=200)


class SeedPage(ResultModel):
    """Some of the seeds that a filter names."""

    seeds: tuple[Seed, ...]
    next_cursor: str | None = Field(default=None, description="null: this is the last page.")


class SeedVectors(RequestModel):
    """The vectors of a seed under one encoder."""

    encoder: str = Field(pattern=r"^[0-9a-f]{16}$", description="Fingerprint.")
    dim: int = Field(ge=1, le=65_536)
    data: Base64Bytes = Field(description="float32, little-endian, row by row.")


class SeedCopy(RequestModel):
    """A seed with all that it is made of, as an export holds it: what another bank needs to have it too."""

    seed: Seed
    frames: tuple[Base64Bytes, ...] = Field(
        default=(), max_length=MAX_SEED_FRAMES, description="JPEG files of its frames; none for a sentence."
    )
    vectors: SeedVectors | None = Field(
        default=None, description="Taken where the bank has the same encoder; else the frames are embedded."
    )

    @model_validator(mode="after")
    def _as_the_bank_makes_them(self) -> Self:
        seed = self.seed
        if (seed.kind == "text") is not (seed.text is not None):
            raise ValueError("a seed of kind `text` has a text, and no other kind has one")
        if seed.text is not None and (
            not 1 <= len(seed.text) <= MAX_TEXT
            or seed.vectors != 1
            or hashlib.sha256(seed.text.encode()).hexdigest() != seed.sha256
        ):
            raise ValueError(f"a sentence has 1 to {MAX_TEXT} characters, one vector, and its own sha256")
        if seed.vectors > MAX_SEED_FRAMES:
            raise ValueError(f"a seed has at most {MAX_SEED_FRAMES} vectors")
        if (seed.state == "removed") is not (seed.removed is not None):
            raise ValueError("a removed seed has a tombstone, and no other seed has one")
        said = [seed.note, seed.created_by, seed.updated_by, seed.quarantined_why or ""]
        said += [] if seed.removed is None else [seed.removed.by, seed.removed.why]
        if max(map(len, said)) > MAX_NOTE:
            raise ValueError(f"notes and names have at most {MAX_NOTE} characters")
        if max(seed.stats.hits, seed.stats.confirmed, seed.stats.refuted) > MAX_COUNT:
            raise ValueError(f"counts are at most {MAX_COUNT}")
        return self


class EncoderSpec(RequestModel):
    """An encoder as the settings of the router name one."""

    model: str = Field(min_length=1, max_length=1_024, description="open_clip name, `hf-hub:` name, or directory.")
    pretrained: str | None = Field(default=None, max_length=1_024)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"


class ReindexRequest(RequestModel):
    """Which encoder the bank is to be indexed with; null means the one that the router's settings name."""

    encoder: EncoderSpec | None = None


class SwitchRequest(RequestModel):
    """Which of the two encoders that the bank has vectors of is to be live."""

    encoder: str = Field(pattern=r"^[0-9a-f]{16}$", description="Fingerprint; `previous` of BankStatus goes back.")


class ReindexStatus(ResultModel):
    """How far the bank is indexed with another encoder."""

    encoder: str = Field(description="Fingerprint of the new encoder; empty until it is loaded.")
    state: Literal["building", "live", "failed"]
    done: int = Field(ge=0, description="Seeds that have vectors of the new encoder.")
    total: int = Field(ge=0)
    error: str | None = None
    started_at: AwareDatetime
    started_by: str
    ended_at: AwareDatetime | None = None


class BankStatus(ResultModel):
    """How large the bank is, and what it is searched with."""

    revision: str
    encoder: str = Field(description="Fingerprint of the live encoder.")
    previous: str | None = Field(default=None, description="Fingerprint of the encoder before, to go back to.")
    seeds: dict[str, int] = Field(description="Searchable seeds of each issue, negatives included.")
    vectors: int = Field(ge=0)
    states: dict[SeedState, int] = Field(default_factory=dict, description="Seeds in each state.")
    expired: int = Field(default=0, ge=0, description="Active seeds past their expiry.")
    reindex: ReindexStatus | None = None
