"""What a client asks of the gateway."""

from typing import Annotated

from pydantic import Field, StringConstraints

from services.contracts.base import IssueId, Mode, RequestModel
from services.contracts.context import Context

MAX_URL_LENGTH = 4_096

VideoUrl = Annotated[str, StringConstraints(pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://", max_length=MAX_URL_LENGTH)]


class ModerationRequest(RequestModel):
    """What is asked: the JSON part beside a video, or a JSON body by itself with the URL of one."""

    url: VideoUrl | None = Field(
        default=None, description="Where the gateway fetches the video, http or https; only without a part `video`."
    )
    context: Context = Context()
    issues: Annotated[tuple[IssueId, ...], Field(min_length=1, max_length=256)] | None = Field(
        default=None, description="Issues to judge; null means all issues of the policy."
    )
    mode: Mode = "cascade"
