"""From a request to a decision: a place, the video in the spool, what was asked, the deadline, the work."""

from dataclasses import dataclass

from starlette.requests import Request

from gateway.pipeline import Pipeline, StoredVideo
from gateway.reception import Reception, wrong_field
from services.contracts import Decision, ModerationRequest
from services.web import StoredUpload, deadline_of, media_type, parse_part


@dataclass(frozen=True)
class Intake:
    """Takes videos in, one call for each request."""

    reception: Reception
    pipeline: Pipeline

    async def decide(self, request: Request) -> Decision:
        """Get the video of a request, sent or fetched, and decide about it. Its file is gone when this ends.

        Raises:
            Overloaded, NotReady, StorageFull: refused before the body is read, or the video fetched.
            MalformedRequest, InvalidPayload, UnknownIssue, TooLarge, EmptyVideo, UploadTooSlow: from the body.
            UrlRefused, FetchFailed, FetchTimeout, SourceRefused, UnsupportedMedia: from the fetch.
            ClientDisconnect: the client left.
            WinnowError: from Pipeline.decide.
        """
        # A deadline that cannot be read is told before the upload.
        deadline_of(request, self.reception.settings)
        with self.reception.admission.place():
            if media_type(request) == "application/json":
                return await self._decide_fetched(request)
            return await self._decide_sent(request)

    async def _decide_sent(self, request: Request) -> Decision:
        async with self.reception.sent(request) as (upload, seconds):
            asked = ModerationRequest() if upload.json is None else parse_part(ModerationRequest, upload.json)
            if asked.url is not None:
                raise wrong_field(
                    "request/url",
                    "A video is sent or named, not both: leave out `url`, or send the JSON alone, "
                    "as `application/json`.",
                )
            return await self.reception.wanted(self._judge(request, upload, asked, seconds), request)

    async def _decide_fetched(self, request: Request) -> Decision:
        asked = await self.reception.json(request, ModerationRequest)
        if asked.url is None:
            raise wrong_field(
                "url", "Name the video's URL, or send the video: `multipart/form-data` with a file part `video`."
            )
        # An issue that is not in the policy is told before the fetch.
        self.pipeline.policy.slice(asked.issues)
        return await self.reception.wanted(self._fetch(request, asked.url, asked), request)

    async def _fetch(self, request: Request, url: str, asked: ModerationRequest) -> Decision:
        async with self.reception.fetched(url) as (upload, seconds):
            return await self._judge(request, upload, without_query(asked), seconds)

    async def _judge(
        self, request: Request, upload: StoredUpload, asked: ModerationRequest, upload_s: float
    ) -> Decision:
        # The deadline starts now: a slow upload or fetch has a time-out of its own and takes nothing from the decision.
        deadline = deadline_of(request, self.reception.settings)
        part = self.pipeline.policy.slice(asked.issues)
        video = StoredVideo(upload.path, upload.sha256, upload_s=upload_s)
        deadline.check()
        return await self.pipeline.decide(video, asked, part, deadline)


def without_query(asked: ModerationRequest) -> ModerationRequest:
    """The request as it is recorded: the query of a signed URL is a password."""
    if asked.url is None:
        return asked
    return asked.model_copy(update={"url": asked.url.partition("#")[0].partition("?")[0]})
