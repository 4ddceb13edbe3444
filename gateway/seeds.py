"""The operators' desk of the seed bank: what only the gateway can do for them; everything else it passes on."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from starlette.requests import Request

from gateway.evidence import Evidence
from gateway.pipeline import Pipeline
from gateway.reception import Reception, wrong_field
from services.clients import SeedCalls
from services.contracts import NewSeed, Seed, SeedCopy, SeedRequest
from services.deadline import Deadline
from services.errors import Forbidden, RouterUnavailable, Unauthorized
from services.telemetry.caller import current_caller
from services.web import deadline_of, media_type, parse_part

T = TypeVar("T")


@dataclass(frozen=True)
class SeedDesk:
    """Asks the router for operators; gets videos from their requests, from URLs and from earlier decisions."""

    reception: Reception
    pipeline: Pipeline
    evidence: Evidence
    router: SeedCalls

    async def add(self, request: Request) -> tuple[Seed, bool]:
        """Add the seed that a request brings or names; whether the bank did not have it yet.

        Raises:
            Overloaded, NotReady, StorageFull: refused before the body is read, or the video fetched.
            MalformedRequest, InvalidPayload, UnknownIssue, TooLarge, EmptyVideo, UploadTooSlow: from the body.
            UrlRefused, FetchFailed, FetchTimeout, SourceRefused, UnsupportedMedia: from the fetch.
            NotFound: no such decision, or its video is not kept.
            ClientDisconnect: the client left.
            WinnowError: what the router answers; Conflict where the seed was removed.
        """
        # A deadline that cannot be read is told before the upload.
        deadline_of(request, self.reception.settings)
        with self.reception.admission.place():
            if media_type(request) != "application/json":
                return await self._add_sent(request)
            asked = await self.reception.json(request, NewSeed)
            self.pipeline.policy.issue(asked.issue)
            return await self.reception.wanted(self._add_named(request, asked), request)

    async def restore(self, request: Request) -> tuple[Seed, bool]:
        """Put a copy into the bank; whether the bank did not have the seed yet. Errors as in `add`.

        Its issue must be one of the policy's, or nobody would search for it; a tombstone is not searched for anyway.
        """
        deadline_of(request, self.reception.settings)
        with self.reception.admission.place():
            max_bytes = self.reception.settings.max_body_bytes
            copy = await self.reception.json(request, SeedCopy, max_bytes=max_bytes)
            if copy.seed.state != "removed":
                self.pipeline.policy.issue(copy.seed.issue)
            return await self.ask(request, lambda router, deadline: router.restore(copy, deadline, actor=actor()))

    async def copy(self, request: Request, seed_id: str) -> SeedCopy:
        """A seed with all that it is made of, some MiB of it; errors as in `ask`, and Overloaded."""
        with self.reception.admission.place():
            return await self.ask(request, lambda router, deadline: router.copy(seed_id, deadline))

    async def ask(self, request: Request, call: Callable[[SeedCalls, Deadline], Coroutine[Any, Any, T]]) -> T:
        """What the router answers to a call, whose deadline starts now.

        Raises:
            MalformedRequest: the deadline cannot be read.
            ClientDisconnect, NotReady: the client left, or the gateway has to stop.
            WinnowError: what the router answers.
        """
        deadline = deadline_of(request, self.reception.settings)
        return await self.reception.wanted(_answer(call(self.router, deadline)), request)

    async def _add_sent(self, request: Request) -> tuple[Seed, bool]:
        async with self.reception.sent(request) as (upload, _):
            asked = parse_part(NewSeed, upload.json)
            for name in ("text", "url", "decision_id"):
                if getattr(asked, name) is not None:
                    raise wrong_field(
                        f"request/{name}",
                        f"A video is sent or named, not both: leave out `{name}`, or send the JSON alone, as "
                        "`application/json`.",
                    )
            self.pipeline.policy.issue(asked.issue)
            return await self.ask(
                request, lambda router, deadline: router.add(upload.path, asked.request(), deadline, actor=actor())
            )

    async def _add_named(self, request: Request, asked: NewSeed) -> tuple[Seed, bool]:
        """A fetch has a time-out of its own: the deadline starts after it."""
        settings, seed = self.reception.settings, asked.request()
        if asked.url is not None:
            async with self.reception.fetched(asked.url) as (upload, _):
                return await self._send(upload.path, seed, deadline_of(request, settings))
        if asked.decision_id is not None:
            deadline = deadline_of(request, settings)
            async with deadline.limit():
                decision = await self.pipeline.find(asked.decision_id)
                async with self.reception.copied(lambda path: self.evidence.fetch(decision, path)) as path:
                    return await self._send(path, seed, deadline)
        if asked.text is not None:
            return await self._send(None, seed, deadline_of(request, settings))
        raise wrong_field(
            "body",
            "Name what the seed is made of: `url`, `decision_id` or `text`; or send the video: `multipart/form-data` "
            "with a file part `video` and a JSON part `request`.",
        )

    async def _send(self, path: Path | None, seed: SeedRequest, deadline: Deadline) -> tuple[Seed, bool]:
        return await _answer(self.router.add(path, seed, deadline, actor=actor()))


def actor() -> str:
    """Who asks, for the router's records: the id of the API key, or `local` where none is asked for."""
    return current_caller() or "local"


async def _answer(call: Coroutine[Any, Any, T]) -> T:
    """The router's answer; that it does not take the gateway's token says nothing about the operator's key."""
    try:
        return await call
    except (Unauthorized, Forbidden) as error:
        raise RouterUnavailable(f"The router answered `{error.code}` to the gateway: {error.detail}") from error
