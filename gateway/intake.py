"""From a request to a decision: a place, room in the spool, the video, what was asked, the deadline, the work."""

import time
from dataclasses import dataclass

from starlette.requests import Request

from gateway.fetch import Downloader
from gateway.pipeline import Pipeline, StoredVideo
from gateway.settings import Settings
from gateway.spool import Spool, room_needed
from services.contracts import Decision, FieldProblem, ModerationRequest
from services.errors import InvalidPayload, UrlRefused
from services.telemetry.spans import span
from services.web import (
    FORM_BYTES,
    Admission,
    StoredUpload,
    deadline_of,
    media_type,
    parse_body,
    parse_part,
    read_body,
    receive_upload,
    while_wanted,
)


@dataclass(frozen=True)
class Intake:
    """Takes videos in, one call for each request; `downloader` is None where URLs are not fetched."""

    settings: Settings
    admission: Admission
    spool: Spool
    pipeline: Pipeline
    downloader: Downloader | None

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
        deadline_of(request, self.settings)
        with self.admission.place():
            if media_type(request) == "application/json":
                return await self._decide_fetched(request)
            return await self._decide_sent(request)

    async def _decide_sent(self, request: Request) -> Decision:
        settings = self.settings
        max_body_bytes = settings.max_video_bytes + settings.max_json_bytes + FORM_BYTES
        with self.spool.booking(room_needed(request.headers.get("Content-Length"), max_body_bytes=max_body_bytes)):
            started = time.perf_counter()
            receiving = receive_upload(
                request,
                spool_dir=self.spool.directory,
                max_video_bytes=settings.max_video_bytes,
                max_json_bytes=settings.max_json_bytes,
                timeout_s=settings.upload_timeout_s,
            )
            with span("upload"):
                upload = await while_wanted(receiving, receive=None, stopped=self.admission.stopped)
            async with upload:
                asked = ModerationRequest() if upload.json is None else parse_part(ModerationRequest, upload.json)
                if asked.url is not None:
                    raise _wrong_url(
                        "request/url",
                        "A video is sent or named, not both: leave out `url`, or send the JSON alone, "
                        "as `application/json`.",
                    )
                work = self._judge(request, upload, asked, started)
                return await while_wanted(work, receive=request.receive, stopped=self.admission.stopped)

    async def _decide_fetched(self, request: Request) -> Decision:
        settings = self.settings
        reading = read_body(request, max_bytes=settings.max_json_bytes, timeout_s=settings.body_timeout_s)
        raw = await while_wanted(reading, receive=None, stopped=self.admission.stopped)
        asked = parse_body(ModerationRequest, raw)
        if asked.url is None:
            raise _wrong_url(
                "url", "Name the video's URL, or send the video: `multipart/form-data` with a file part `video`."
            )
        # An issue that is not in the policy is told before the fetch.
        self.pipeline.policy.slice(asked.issues)
        work = self._fetch(request, asked.url, asked)
        return await while_wanted(work, receive=request.receive, stopped=self.admission.stopped)

    async def _fetch(self, request: Request, url: str, asked: ModerationRequest) -> Decision:
        if self.downloader is None:
            raise UrlRefused("This gateway fetches no URLs; send the video itself.")
        with self.spool.booking(self.settings.max_video_bytes) as shrink:
            started = time.perf_counter()
            with span("fetch"):
                upload = await self.downloader.download(url, self.spool.directory, sized=shrink)
            async with upload:
                return await self._judge(request, upload, without_query(asked), started)

    async def _judge(
        self, request: Request, upload: StoredUpload, asked: ModerationRequest, started: float
    ) -> Decision:
        upload_s = time.perf_counter() - started
        self.pipeline.metrics.received("upload" if asked.url is None else "fetch", seconds=upload_s, size=upload.size)
        # The deadline starts now: a slow upload or fetch has a time-out of its own and takes nothing from the decision.
        deadline = deadline_of(request, self.settings)
        part = self.pipeline.policy.slice(asked.issues)
        video = StoredVideo(upload.path, upload.sha256, upload_s=upload_s)
        deadline.check()
        return await self.pipeline.decide(video, asked, part, deadline)


def without_query(asked: ModerationRequest) -> ModerationRequest:
    """The request as it is recorded: the query of a signed URL is a password."""
    if asked.url is None:
        return asked
    return asked.model_copy(update={"url": asked.url.partition("#")[0].partition("?")[0]})


def _wrong_url(pointer: str, detail: str) -> InvalidPayload:
    return InvalidPayload(detail, errors=[FieldProblem(pointer=pointer, detail=detail)])
