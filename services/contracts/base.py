"""Base models and the field types that contracts share, with their units and ranges."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


class RequestModel(BaseModel):
    """Something a caller sends: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ResultModel(BaseModel):
    """Something a service answers: frozen; unknown fields are ignored, so that replicas may be upgraded one by one."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


IssueId = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$"),
    Field(description="Identifier of a policy issue, e.g. `weapon_threat`."),
]
Probability = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0.0, allow_inf_nan=False, description="Seconds.")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

Mode = Literal["cascade", "full"]
"""`cascade`: the ranker sees what the router escalates. `full`: every requested issue is escalated (audits)."""

PromptName = Literal["P1", "P2", "P3", "P4"]
"""The prompt templates of Figure 2 of Filter-And-Refine; see services.prompts."""

ContextUse = Literal["shown", "guarded", "ignored"]
"""Whether the model reads the uploader's text. `guarded`: it is asked with and without the text, and the higher score
counts, so that a text can raise a score and never lower it."""

AssemblyMethod = Literal["original", "union", "maximum", "weighted_sum", "bayesian"]
"""How the fine-grained and the overall probability become one score (Filter-And-Refine, Table 2)."""

SeedKind = Literal["golden", "centroid", "feedback", "text", "negative"]


class Timings(ResultModel):
    """Wall time of each stage, in seconds; a stage that did not run is absent."""

    stages: dict[str, Seconds] = Field(
        default_factory=dict, description="Stage name to seconds, e.g. `decode`, `embed`, `search`, `forward`, `rank`."
    )
