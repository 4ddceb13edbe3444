"""What the OpenAPI document says of the routes of seeds: bodies and errors."""

from collections.abc import Mapping
from typing import Any

from services.contracts import NewSeed
from services.errors import (
    Conflict,
    DeadlineExceeded,
    FetchFailed,
    FetchTimeout,
    Forbidden,
    InvalidPayload,
    MalformedRequest,
    NotFound,
    NotReady,
    NoVideoStream,
    Overloaded,
    RouterUnavailable,
    SourceRefused,
    TooLarge,
    TruncatedVideo,
    Unauthorized,
    UndecodableVideo,
    UnknownIssue,
    UnsupportedMedia,
    UploadTooSlow,
    UrlRefused,
    VideoRefused,
)
from services.web import UPLOAD_ERRORS, VIDEO_KINDS, narrowed, upload_operation

ASK_ERRORS = (MalformedRequest, Unauthorized, Forbidden, NotReady, RouterUnavailable, DeadlineExceeded)
BODY_ERRORS = (*ASK_ERRORS, UploadTooSlow, TooLarge, InvalidPayload)
VIDEO_ERRORS = (UnsupportedMedia, NoVideoStream, TruncatedVideo, UndecodableVideo, VideoRefused)
FETCH_ERRORS = (UrlRefused, FetchFailed, FetchTimeout, SourceRefused)
ADD_ERRORS = (*ASK_ERRORS, *UPLOAD_ERRORS, UnknownIssue, *VIDEO_ERRORS, *FETCH_ERRORS, NotFound, Conflict, Overloaded)

SOURCES = ("text", "url", "decision_id")
EXAMPLE = {"issue": "weapon_threat", "start_s": 3.5, "end_s": 6.0, "share": 0.1, "note": "seen in three uploads today"}


def new_seed_operation() -> dict[str, Any]:
    """The `openapi_extra` of the route that adds a seed."""
    return upload_operation(
        NewSeed,
        example=EXAMPLE,
        part=narrowed(NewSeed, {**dict.fromkeys(SOURCES), "kind": VIDEO_KINDS}),
        bodies=[_named(source) for source in SOURCES],
    )


def _named(source: str) -> dict[str, Any]:
    """The schema of a JSON body that names one source."""
    others: dict[str, Mapping[str, Any] | None] = dict.fromkeys(other for other in SOURCES if other != source)
    if source == "text":
        return narrowed(NewSeed, {**others, "kind": {"enum": ["text"]}}, required=["text", "kind"])
    return narrowed(NewSeed, {**others, "kind": VIDEO_KINDS}, required=[source])
