"""The one shape of every error: RFC 9457 problem details."""

from pydantic import Field

from services.contracts.base import ResultModel


class FieldProblem(ResultModel):
    """What is wrong with one field of a payload."""

    pointer: str = Field(description="Where, as a path, e.g. `request/context/title`.")
    detail: str


class Problem(ResultModel):
    """Body of every error response, `application/problem+json`."""

    type: str = Field(description="URI reference of the error's documentation.")
    title: str
    status: int = Field(ge=400, le=599)
    code: str = Field(description="Stable, machine-readable name of the error.")
    detail: str
    retryable: bool = Field(description="Whether the same request may succeed later.")
    request_id: str
    errors: tuple[FieldProblem, ...] = ()


class Health(ResultModel):
    """Body of `/health/live` and `/health/ready`."""

    status: str = Field(description="`ok` or `unavailable`.")
    missing: dict[str, str] = Field(default_factory=dict, description="What is missing, and why.")
