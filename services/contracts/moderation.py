"""What a client asks of the gateway."""

from typing import Annotated

from pydantic import Field

from services.contracts.base import IssueId, Mode, RequestModel
from services.contracts.context import Context


class ModerationRequest(RequestModel):
    """The JSON part of a moderation request; the video is a part of its own."""

    context: Context = Context()
    issues: Annotated[tuple[IssueId, ...], Field(min_length=1, max_length=256)] | None = Field(
        default=None, description="Issues to judge; null means all issues of the policy."
    )
    mode: Mode = "cascade"
