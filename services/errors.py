"""Every error that a service answers: status, code and whether a retry may help stand on the class.

WinnowError
  MalformedRequest 400, Unauthorized 401, Forbidden 403, NotFound 404, UploadTooSlow 408, Conflict 409
  PreconditionFailed 412, TooLarge 413, PreconditionRequired 428
  UnsupportedMedia 415, NoVideoStream 415
  UrlRefused 422, FetchFailed, FetchTimeout, SourceRefused 424
  InvalidPayload, UnknownIssue, EmptyVideo, TruncatedVideo, UndecodableVideo, VideoRefused, DigestMismatch 422
  Overloaded 429, Internal 500, NotReady, RouterUnavailable, RankerUnavailable 503, DeadlineExceeded 504
  StorageFull 507
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from services.contracts import FieldProblem, Problem


class WinnowError(Exception):
    """Base of every error with a meaning to the caller; see RFC 9457 for the body it becomes.

    Args:
        detail: what went wrong, in one sentence that is safe to show to the caller.
        errors: the fields of the payload that are wrong.
        retry_after_s: seconds after which a retry makes sense; becomes the `Retry-After` header.
    """

    status: int = 500
    code: str = "internal"
    title: str = "Internal error"
    retryable: bool = False
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, detail: str, *, errors: Sequence[FieldProblem] = (), retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after_s = retry_after_s

    def problem(self, request_id: str) -> Problem:
        """The error as the body of a response."""
        return Problem(
            type=f"urn:winnow:error:{self.code}",
            title=self.title,
            status=self.status,
            code=self.code,
            detail=self.detail,
            retryable=self.retryable,
            request_id=request_id,
            errors=self.errors,
        )


class MalformedRequest(WinnowError):
    """The request cannot be read: wrong content type, broken multipart or JSON, missing part, bad header."""

    status, code, title = 400, "malformed_request", "Malformed request"


class Unauthorized(WinnowError):
    """The token is missing or wrong."""

    status, code, title = 401, "unauthorized", "Unauthorized"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": "Bearer"}


class Forbidden(WinnowError):
    """The caller is known, or is a web page of another site, and may not do this."""

    status, code, title = 403, "forbidden", "Forbidden"


class NotFound(WinnowError):
    """There is nothing under this address."""

    status, code, title = 404, "not_found", "Not found"


class UploadTooSlow(WinnowError):
    """The body did not arrive in the time allowed."""

    status, code, title, retryable = 408, "upload_timeout", "Upload timed out", True


class Conflict(WinnowError):
    """The request is against the state that the thing is in, e.g. a removed seed that is added again."""

    status, code, title = 409, "conflict", "Conflict"


class PreconditionFailed(WinnowError):
    """Somebody else has changed it since the caller read it (`If-Match`): read it again."""

    status, code, title = 412, "precondition_failed", "Precondition failed"


class TooLarge(WinnowError):
    """The body, or one part of it, is larger than allowed."""

    status, code, title = 413, "too_large", "Too large"


class UnsupportedMedia(WinnowError):
    """The bytes are not a video in any known container."""

    status, code, title = 415, "not_a_video", "Not a video"


class NoVideoStream(WinnowError):
    """The container holds no video stream, e.g. audio alone."""

    status, code, title = 415, "no_video_stream", "No video stream"


class InvalidPayload(WinnowError):
    """The payload was read, and its content is against the contract; `errors` names the fields."""

    status, code, title = 422, "invalid_payload", "Invalid payload"


class UnknownIssue(WinnowError):
    """The request names an issue that the policy does not have."""

    status, code, title = 422, "unknown_issue", "Unknown issue"


class EmptyVideo(WinnowError):
    """The video has zero bytes."""

    status, code, title = 422, "empty_video", "Empty video"


class TruncatedVideo(WinnowError):
    """The video ends before its container says so."""

    status, code, title = 422, "truncated_video", "Truncated video"


class UndecodableVideo(WinnowError):
    """The container is known, and its frames cannot be decoded."""

    status, code, title = 422, "undecodable_video", "Undecodable video"


class VideoRefused(WinnowError):
    """The video is beyond a limit: dimensions, duration, frame count, pixels to decode, or one video stream."""

    status, code, title = 422, "video_refused", "Video refused"


class DigestMismatch(WinnowError):
    """The bytes that arrived do not have the SHA-256 that was announced."""

    status, code, title, retryable = 422, "digest_mismatch", "Digest mismatch", True


class UrlRefused(WinnowError):
    """The gateway does not fetch from this URL, or from one that it redirects to."""

    status, code, title = 422, "url_refused", "URL refused"


class FetchFailed(WinnowError):
    """The server of the URL could not be reached, broke off or is in trouble; it may recover."""

    status, code, title, retryable = 424, "fetch_failed", "Fetch failed", True


class FetchTimeout(WinnowError):
    """The server of the URL was too slow."""

    status, code, title, retryable = 424, "fetch_timeout", "Fetch timed out", True


class SourceRefused(WinnowError):
    """The server of the URL does not give the video, or answers what cannot be used; a retry gets the same."""

    status, code, title = 424, "source_refused", "Source refused"


class PreconditionRequired(WinnowError):
    """A change needs `If-Match` with the version that the caller has read (RFC 6585, section 3)."""

    status, code, title = 428, "precondition_required", "Precondition required"


class Overloaded(WinnowError):
    """No capacity now; carries `Retry-After`."""

    status, code, title, retryable = 429, "overloaded", "Overloaded", True


class Internal(WinnowError):
    """A fault of ours; the log has it under the request id."""

    status, code, title = 500, "internal", "Internal error"


class NotReady(WinnowError):
    """The service is up, and something it needs is not."""

    status, code, title, retryable = 503, "not_ready", "Not ready", True


class RouterUnavailable(WinnowError):
    """The router could not be asked."""

    status, code, title, retryable = 503, "router_unavailable", "Router unavailable", True


class RankerUnavailable(WinnowError):
    """No replica of the ranker could be asked."""

    status, code, title, retryable = 503, "ranker_unavailable", "Ranker unavailable", True


class DeadlineExceeded(WinnowError):
    """The caller's deadline passed before there was an answer."""

    status, code, title, retryable = 504, "deadline_exceeded", "Deadline exceeded", True


class StorageFull(WinnowError):
    """The disk has no room for the upload."""

    status, code, title, retryable = 507, "storage_full", "Storage full", True


def error_classes(root: type[WinnowError] = WinnowError) -> Iterator[type[WinnowError]]:
    """All subclasses of `root`, depth first, `root` itself left out."""
    for cls in root.__subclasses__():
        yield cls
        yield from error_classes(cls)


def from_problem(problem: Problem, *, retry_after_s: float | None = None) -> WinnowError:
    """Rebuild the error that another service answered with.

    A code that this version does not know becomes a plain `WinnowError` that carries the other service's status,
    code and title.
    """
    for cls in error_classes():
        if cls.code == problem.code:
            return cls(problem.detail, errors=problem.errors, retry_after_s=retry_after_s)
    error = WinnowError(problem.detail, errors=problem.errors, retry_after_s=retry_after_s)
    error.status, error.code, error.title = problem.status, problem.code, problem.title
    error.retryable = problem.retryable
    return error
