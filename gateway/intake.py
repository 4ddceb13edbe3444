"""From a request to a decision: a place, room in the spool, the upload, what was asked, the deadline, the work."""

import time
from dataclasses import dataclass

from starlette.requests import Request

from gateway.pipeline import Pipeline, StoredVideo
from gateway.settings import Settings
from gateway.spool import Spool, room_needed
from services.contracts import Decision, ModerationRequest
from services.web import FORM_BYTES, Admission, deadline_of, parse_part, receive_upload, while_wanted


@dataclass(frozen=True)
class Intake:
    """Takes uploads in, one call for each request."""

    settings: Settings
    admission: Admission
    spool: Spool
    pipeline: Pipeline

    async def decide(self, request: Request) -> Decision:
        """Receive the video of a request and decide about it. Its file is gone when this returns or raises.

        Raises:
            Overloaded, NotReady, StorageFull: refused before the body is read.
            MalformedRequest, InvalidPayload, UnknownIssue, TooLarge, EmptyVideo, UploadTooSlow: from the upload.
            ClientDisconnect: the client left.
            WinnowError: from Pipeline.decide.
        """
        settings = self.settings
        max_body_bytes = settings.max_video_bytes + settings.max_json_bytes + FORM_BYTES
        # A deadline that cannot be read is told before the upload.
        deadline_of(request, settings)
        room = room_needed(request.headers.get("Content-Length"), max_body_bytes=max_body_bytes)
        with self.admission.place(), self.spool.booking(room):
            started = time.perf_counter()
            receiving = receive_upload(
                request,
                spool_dir=self.spool.directory,
                max_video_bytes=settings.max_video_bytes,
                max_json_bytes=settings.max_json_bytes,
                timeout_s=settings.upload_timeout_s,
            )
            upload = await while_wanted(receiving, receive=None, stopped=self.admission.stopped)
            async with upload:
                # The deadline starts now: a slow upload has its own time-out and takes nothing from the decision.
                deadline = deadline_of(request, settings)
                asked = ModerationRequest() if upload.json is None else parse_part(ModerationRequest, upload.json)
                part = self.pipeline.policy.slice(asked.issues)
                video = StoredVideo(upload.path, upload.sha256, upload_s=time.perf_counter() - started)
                deadline.check()
                work = self.pipeline.decide(video, asked, part, deadline)
                return await while_wanted(work, receive=request.receive, stopped=self.admission.stopped)
