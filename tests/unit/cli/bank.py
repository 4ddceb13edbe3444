"""The bank of a router or gateway behind HTTP: it keeps what it was sent, and can be made to refuse and to lag."""

import asyncio
import hashlib
import signal
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response

from services.contracts import (
    BankStatus,
    NewSeed,
    ReindexRequest,
    ReindexStatus,
    Seed,
    SeedChange,
    SeedCopy,
    SeedFilter,
    SeedPage,
    SeedRemoval,
    SeedRequest,
    SwitchRequest,
)
from services.errors import Conflict, InvalidPayload, NotFound, NotReady, PreconditionFailed, WinnowError
from services.web import expected_version, media_type, parse_body, parse_part, receive_upload


class Bank:
    """Records of seeds, and what was asked for them.

    Attributes:
        seeds: what was sent, by note.
        records: the seeds by id.
        copies: what the copy of a seed holds beside its record.
        refused: an issue that is answered 422.
        interrupt: an issue at which the caller is interrupted, as by Ctrl-C.
        fail_next: errors that the next calls are answered with.
        fail_in_add: errors that the next added seeds are answered with.
        fail_in_copy: errors that copies are answered with, by seed.
        status: what the bank tells of itself.
        steps: statuses that the polls of a reindex see, one after another.
    """

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        self.seeds: dict[str, SeedRequest] = {}
        self.records: dict[str, Seed] = {}
        self.copies: dict[str, SeedCopy] = {}
        self.restored: list[SeedCopy] = []
        self.asked: list[tuple[str, str]] = []
        self.sent: list[SeedRequest] = []
        self.tokens: set[str | None] = set()
        self.refused = ""
        self.interrupt = ""
        self.fail_next: list[WinnowError] = []
        self.fail_in_add: list[WinnowError] = []
        self.fail_in_copy: dict[str, WinnowError] = {}
        self.status: dict[str, Any] = {"revision": "r", "encoder": "a" * 16, "seeds": {}}
        self.steps: list[ReindexStatus] = []
        self.wanted: list[ReindexRequest] = []
        self.app = FastAPI()
        self.app.exception_handler(WinnowError)(_answered)
        self.app.middleware("http")(self._noted)
        add = self.app.add_api_route
        add("/v1/bank", self.bank, methods=["GET"])
        add("/v1/bank/reindex", self.reindex, methods=["POST"], status_code=202)
        add("/v1/bank/switch", self.switch, methods=["POST"])
        add("/v1/seeds", self.add, methods=["POST"])
        add("/v1/seeds", self.page, methods=["GET"])
        add("/v1/seeds/restore", self.restore, methods=["POST"])
        add("/v1/seeds/{seed_id}", self.get, methods=["GET"])
        add("/v1/seeds/{seed_id}", self.change, methods=["PATCH"])
        add("/v1/seeds/{seed_id}", self.remove, methods=["DELETE"])
        add("/v1/seeds/{seed_id}/copy", self.copy, methods=["GET"])

    async def _noted(self, request: Request, following: Callable[[Request], Awaitable[Response]]) -> Response:
        self.asked.append((request.method, request.url.path))
        self.tokens.add(request.headers.get("Authorization"))
        if self.fail_next:
            return await _answered(request, self.fail_next.pop(0))
        return await following(request)

    async def bank(self) -> BankStatus:
        if len(self.steps) > 1:
            self.status["reindex"] = self.steps.pop(0)
        elif self.steps:
            self.status["reindex"] = self.steps[0]
        states = dict.fromkeys(("active", "paused", "quarantined", "removed"), 0)
        for seed in self.records.values():
            states[seed.state] += 1
        return BankStatus.model_validate({**self.status, "vectors": len(self.records), "states": states})

    async def reindex(self, request: Request) -> ReindexStatus:
        self.wanted.append(parse_body(ReindexRequest, await request.body()))
        return self.steps[0]

    async def switch(self, request: Request) -> BankStatus:
        wanted = parse_body(SwitchRequest, await request.body()).encoder
        self.status["previous"], self.status["encoder"] = self.status["encoder"], wanted
        return await self.bank()

    async def add(self, request: Request) -> Response:
        if media_type(request) == "application/json":
            asked: SeedRequest = parse_body(NewSeed, await request.body())
            data = (asked.text or "elsewhere").encode()
        else:
            upload = await receive_upload(
                request, spool_dir=self.spool, max_video_bytes=1_000_000, max_json_bytes=10_000, timeout_s=5
            )
            async with upload:
                asked = parse_part(SeedRequest, upload.json)
                data = upload.path.read_bytes()
        self.sent.append(asked)
        if self.fail_in_add:
            raise self.fail_in_add.pop(0)
        if asked.issue == self.interrupt:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            await asyncio.sleep(1)
        if asked.issue == self.refused:
            raise InvalidPayload("refused")
        self.seeds[asked.note] = asked
        made = seed_of(asked, data)
        kept = self.records.setdefault(made.id, made)
        if kept.state == "removed":
            raise Conflict("It was removed.")
        return _answer(kept, 201 if kept is made else 200)

    async def page(self, request: Request) -> SeedPage:
        asked = SeedFilter.model_validate(dict(request.query_params))
        found = [
            seed
            for seed in reversed(self.records.values())
            if (seed.state == asked.state if asked.state else seed.state != "removed")
            and asked.issue in {None, seed.issue}
            and asked.kind in {None, seed.kind}
        ]
        begin = int(asked.cursor or 0)
        end = begin + asked.limit
        return SeedPage(seeds=tuple(found[begin:end]), next_cursor=str(end) if end < len(found) else None)

    async def get(self, seed_id: str) -> Response:
        return _answer(self._found(seed_id))

    async def change(self, seed_id: str, request: Request) -> Response:
        change = parse_body(SeedChange, await request.body())
        return self._write(seed_id, request, **change.values(), removed=None)

    async def remove(self, seed_id: str, why: str, request: Request) -> Response:
        tomb = SeedRemoval(at=datetime.now(UTC), by="local", why=why)
        return self._write(seed_id, request, state="removed", removed=tomb)

    async def copy(self, seed_id: str) -> SeedCopy:
        seed = self._found(seed_id)
        if seed_id in self.fail_in_copy:
            raise self.fail_in_copy[seed_id]
        copy = self.copies.get(seed_id)
        if copy is None:
            raise NotFound("Its frames are gone.")
        return copy.model_copy(update={"seed": seed})

    async def restore(self, request: Request) -> Response:
        copy = parse_body(SeedCopy, await request.body())
        if copy.seed.issue == self.refused:
            raise InvalidPayload("refused")
        self.restored.append(copy)
        made = copy.seed.model_copy(update={"version": 1})
        kept = self.records.setdefault(made.id, made)
        return _answer(kept, 201 if kept is made else 200)

    def keep(self, seed: Seed, copy: dict[str, Any] | None = None) -> Seed:
        """Have a seed in the bank, with what its copy holds."""
        self.records[seed.id] = seed
        if copy is not None:
            self.copies[seed.id] = SeedCopy.model_validate({"seed": seed, **copy})
        return seed

    def _found(self, seed_id: str) -> Seed:
        if seed_id not in self.records:
            raise NotFound("There is no such seed.")
        return self.records[seed_id]

    def _write(self, seed_id: str, request: Request, **values: Any) -> Response:
        seed, version = self._found(seed_id), expected_version(request)
        if version not in {None, seed.version}:
            raise PreconditionFailed("The seed has another version.")
        self.records[seed_id] = seed.model_copy(update={**values, "version": seed.version + 1})
        return _answer(self.records[seed_id])


def seed_of(asked: SeedRequest, data: bytes, **values: Any) -> Seed:
    """The record of a seed that was added now, but for the values named."""
    name = "/".join(map(str, (asked.issue, asked.kind, asked.start_s, asked.end_s, hashlib.sha256(data).hexdigest())))
    now = datetime.now(UTC)
    made = {
        **{field: getattr(asked, field) for field in ("issue", "kind", "state", "share", "expires_at", "text", "note")},
        "id": hashlib.sha256(name.encode()).hexdigest()[:32],
        "version": 1,
        "start_s": asked.start_s,
        "end_s": asked.end_s or 9.0,
        "sha256": hashlib.sha256(data).hexdigest(),
        "vectors": 1,
        "created_at": now,
        "created_by": "local",
        "updated_at": now,
        "updated_by": "local",
    }
    return Seed.model_validate({**made, **values})


def busy(times: int) -> list[WinnowError]:
    """That a service is not ready, so many times, and to be asked again at once."""
    return [NotReady("Starting.", retry_after_s=0)] * times


def _answer(seed: Seed, status: int = 200) -> Response:
    return Response(seed.model_dump_json(), status, {"ETag": f'"{seed.version}"'}, "application/json")


async def _answered(_request: Request, error: Exception) -> Response:
    assert isinstance(error, WinnowError)
    headers = {} if error.retry_after_s is None else {"Retry-After": str(int(error.retry_after_s))}
    return Response(error.problem("r").model_dump_json(), error.status, headers, "application/problem+json")
