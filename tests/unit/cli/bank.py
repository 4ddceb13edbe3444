"""A router's bank behind HTTP that keeps what it was sent."""

from datetime import UTC, datetime
from pathlib import Path

from fastapi import FastAPI, Request, Response

from services.contracts import BankStatus, Seed, SeedRequest
from services.errors import InvalidPayload
from services.web import parse_part, receive_upload


class Bank:
    """A router's bank that may refuse one issue."""

    def __init__(self, spool: Path) -> None:
        self.seeds: dict[str, SeedRequest] = {}
        self.tokens: set[str | None] = set()
        self.refused = ""
        self.app = FastAPI()

        @self.app.get("/v1/bank")
        async def bank() -> BankStatus:
            return BankStatus(revision="r", encoder="e", seeds={}, vectors=len(self.seeds))

        @self.app.post("/v1/seeds")
        async def add(request: Request) -> Response:
            upload = await receive_upload(
                request, spool_dir=spool, max_video_bytes=1_000_000, max_json_bytes=1000, timeout_s=5
            )
            async with upload:
                self.tokens.add(request.headers.get("Authorization"))
                asked = parse_part(SeedRequest, upload.json)
                if asked.issue == self.refused:
                    problem = InvalidPayload("refused").problem("r")
                    return Response(problem.model_dump_json(), 422, media_type="application/problem+json")
                self.seeds[asked.note] = asked
                seed = Seed(
                    id=asked.note,
                    issue=asked.issue,
                    kind=asked.kind,
                    start_s=asked.start_s,
                    end_s=asked.end_s or 9.0,
                    sha256=upload.sha256,
                    vectors=1,
                    created_at=datetime.now(UTC),
                )
            return Response(seed.model_dump_json(), media_type="application/json")
