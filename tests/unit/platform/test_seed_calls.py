"""Calls about seeds against a small service: what travels, what comes back, what an error becomes."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from services.clients import ACTOR_HEADER, GatewayClient, RouterClient, SeedCalls
from services.contracts import (
    BankStatus,
    EncoderSpec,
    NewSeed,
    ReindexRequest,
    ReindexStatus,
    Seed,
    SeedChange,
    SeedCopy,
    SeedFilter,
    SeedPage,
    SeedRequest,
    SwitchRequest,
)
from services.deadline import Deadline
from services.errors import (
    Conflict,
    NotFound,
    NotReady,
    PreconditionFailed,
    PreconditionRequired,
    RouterUnavailable,
    TooLarge,
    WinnowError,
)
from services.web.problems import problem_response

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ID = "0123456789abcdef" * 2
SEED = Seed(
    id=ID,
    version=3,
    issue="arson",
    kind="golden",
    state="active",
    share=0.5,
    start_s=1.0,
    end_s=2.5,
    sha256="0" * 64,
    vectors=4,
    created_at=NOW,
    created_by="key-1",
    updated_at=NOW,
    updated_by="key-1",
)
COPY = SeedCopy(seed=SEED, frames=(base64.b64encode(b"\xff\xd8 frame"),))
BANK = BankStatus(revision="r", encoder="0" * 16, seeds={"arson": 1}, vectors=4)
REINDEX = ReindexStatus(encoder="", state="building", done=0, total=1, started_at=NOW, started_by="local")
REQUEST = SeedRequest(issue="arson", start_s=1.0, end_s=2.5)


class Bank:
    """Answers every request alike, and keeps it."""

    def __init__(self) -> None:
        self.app = FastAPI()
        self.answer: Response | WinnowError = NotFound("not set")
        self.method, self.path, self.headers, self.body = "", "", {}, b""
        self.query: dict[str, str] = {}

        @self.app.api_route("/{path:path}", methods=["GET", "POST", "PATCH", "DELETE"])
        async def anything(request: Request) -> Response:
            self.method, self.path = request.method, request.scope["raw_path"].decode()
            self.headers, self.query = dict(request.headers), dict(request.query_params)
            self.body = await request.body()
            answer = self.answer
            return problem_response(answer) if isinstance(answer, WinnowError) else answer

    def says(self, model: BaseModel, status: int = 200) -> None:
        self.answer = Response(model.model_dump_json(), status_code=status, media_type="application/json")

    def asked(self) -> tuple[str, str]:
        return self.method, self.path


@pytest.fixture
def bank() -> Bank:
    return Bank()


@pytest.fixture(params=["router", "gateway"])
async def seeds(request: pytest.FixtureRequest, bank: Bank) -> AsyncIterator[SeedCalls]:
    make: Callable[..., Any] = RouterClient if request.param == "router" else GatewayClient
    async with make("http://service", transport=httpx.ASGITransport(bank.app)) as client:
        yield client.seeds


def soon() -> Deadline:
    return Deadline.after(10)


@pytest.mark.parametrize(("status", "new"), [(201, True), (200, False)])
async def test_a_seed_is_added_from_a_file(
    bank: Bank, seeds: SeedCalls, tmp_path: Path, status: int, new: bool
) -> None:
    video = tmp_path / "clip.mp4"
    video.write_bytes(b"the video")
    bank.says(SEED, status)
    assert await seeds.add(video, REQUEST, soon(), actor="key-7") == (SEED, new)
    assert bank.asked() == ("POST", "/v1/seeds")
    assert bank.headers["content-type"].startswith("multipart/form-data")
    assert bank.headers[ACTOR_HEADER.lower()] == "key-7"
    assert b"the video" in bank.body
    assert REQUEST.model_dump_json().encode() in bank.body


async def test_a_seed_is_added_by_sentence_and_by_what_names_its_video(bank: Bank, seeds: SeedCalls) -> None:
    for request in (
        SeedRequest(issue="arson", kind="text", text="a burning house"),
        NewSeed(issue="arson", url="https://example.org/a.mp4"),
    ):
        bank.says(SEED, 201)
        assert await seeds.add(None, request, soon()) == (SEED, True)
        assert bank.headers["content-type"] == "application/json"
        assert ACTOR_HEADER.lower() not in bank.headers
        assert type(request).model_validate_json(bank.body) == request


async def test_a_page_is_asked_for_by_what_its_filter_names(bank: Bank, seeds: SeedCalls) -> None:
    page = SeedPage(seeds=(SEED,), next_cursor="more")
    bank.says(page)
    assert await seeds.page(SeedFilter(issue="arson", state="removed", cursor="a/+&=", limit=7), soon()) == page
    assert bank.asked() == ("GET", "/v1/seeds")
    assert bank.query == {"issue": "arson", "state": "removed", "cursor": "a/+&=", "limit": "7"}


async def test_an_id_stays_one_part_of_the_path(bank: Bank, seeds: SeedCalls) -> None:
    bank.says(SEED)
    assert await seeds.get(ID, soon()) == SEED
    assert bank.asked() == ("GET", f"/v1/seeds/{ID}")
    await seeds.get("../bank?x", soon())
    assert bank.path == "/v1/seeds/..%2Fbank%3Fx"


async def test_a_change_says_what_is_named_and_which_version_it_is_based_on(bank: Bank, seeds: SeedCalls) -> None:
    bank.says(SEED)
    assert await seeds.change(ID, SeedChange(expires_at=None), soon(), version=3, actor="key-7") == SEED
    assert bank.asked() == ("PATCH", f"/v1/seeds/{ID}")
    assert (bank.headers["if-match"], bank.headers[ACTOR_HEADER.lower()]) == ('"3"', "key-7")
    assert json.loads(bank.body) == {"expires_at": None}
    await seeds.change(ID, SeedChange(state="paused", share=0.1), soon(), version=None)
    assert bank.headers["if-match"] == "*"
    assert json.loads(bank.body) == {"state": "paused", "share": 0.1}


async def test_a_removal_says_why(bank: Bank, seeds: SeedCalls) -> None:
    bank.says(SEED)
    assert await seeds.remove(ID, "a look-alike & more", soon(), version=2, actor="key-7") == SEED
    assert bank.asked() == ("DELETE", f"/v1/seeds/{ID}")
    assert bank.query == {"why": "a look-alike & more"}
    assert (bank.headers["if-match"], bank.headers[ACTOR_HEADER.lower()]) == ('"2"', "key-7")


async def test_a_frame_is_a_jpeg_file(bank: Bank, seeds: SeedCalls) -> None:
    bank.answer = Response(b"\xff\xd8\xff\xe0 and so on", media_type="image/jpeg")
    assert await seeds.frame(ID, 3, soon()) == b"\xff\xd8\xff\xe0 and so on"
    assert bank.asked() == ("GET", f"/v1/seeds/{ID}/frames/3")
    bank.answer = Response(b"<html>", media_type="text/html")
    with pytest.raises((RouterUnavailable, NotReady), match="not a JPEG"):
        await seeds.frame(ID, 3, soon())
    bank.answer = NotFound("no such frame")
    with pytest.raises(NotFound):
        await seeds.frame(ID, 99, soon())


async def test_a_copy_is_restored_as_it_was_made(bank: Bank, seeds: SeedCalls) -> None:
    bank.says(COPY)
    copy = await seeds.copy(ID, soon())
    assert bank.asked() == ("GET", f"/v1/seeds/{ID}/copy")
    assert copy.frames == (b"\xff\xd8 frame",)
    for status, new in ((201, True), (200, False)):
        bank.says(SEED, status)
        assert await seeds.restore(copy, soon(), actor="key-7") == (SEED, new)
        assert bank.asked() == ("POST", "/v1/seeds/restore")
        assert SeedCopy.model_validate_json(bank.body) == copy
        assert bank.headers[ACTOR_HEADER.lower()] == "key-7"


async def test_the_bank_is_looked_at_indexed_and_switched(bank: Bank, seeds: SeedCalls) -> None:
    bank.says(BANK)
    assert await seeds.bank(soon()) == BANK
    assert bank.asked() == ("GET", "/v1/bank")
    switch = SwitchRequest(encoder="0" * 16)
    assert await seeds.switch(switch, soon(), actor="key-7") == BANK
    assert (*bank.asked(), bank.headers[ACTOR_HEADER.lower()]) == ("POST", "/v1/bank/switch", "key-7")
    assert SwitchRequest.model_validate_json(bank.body) == switch
    bank.says(REINDEX, 202)
    reindex = ReindexRequest(encoder=EncoderSpec(model="/models/new"))
    assert await seeds.reindex(reindex, soon(), actor="key-7") == REINDEX
    assert (*bank.asked(), bank.headers[ACTOR_HEADER.lower()]) == ("POST", "/v1/bank/reindex", "key-7")
    assert ReindexRequest.model_validate_json(bank.body) == reindex


@pytest.mark.parametrize(
    "error",
    [Conflict("removed"), PreconditionFailed("changed"), PreconditionRequired("say which"), NotReady("no database")],
)
async def test_an_error_of_the_service_stays_what_it_is(bank: Bank, seeds: SeedCalls, error: WinnowError) -> None:
    bank.answer = error
    with pytest.raises(type(error), match=error.detail):
        await seeds.change(ID, SeedChange(share=0.5), soon(), version=1)


@pytest.mark.parametrize(
    ("status", "expected"), [(409, Conflict), (412, PreconditionFailed), (428, PreconditionRequired), (413, TooLarge)]
)
async def test_an_error_that_is_no_problem_is_told_by_its_status(
    bank: Bank, seeds: SeedCalls, status: int, expected: type[WinnowError]
) -> None:
    bank.answer = Response("<html>", status_code=status)
    with pytest.raises(expected):
        await seeds.get(ID, soon())


class Unreachable(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)


async def test_a_service_that_cannot_be_asked_is_named(bank: Bank, tmp_path: Path) -> None:
    async with RouterClient("http://r", transport=Unreachable()) as router:
        with pytest.raises(RouterUnavailable, match="The router cannot be asked: ConnectError"):
            await router.seeds.get(ID, soon())
    async with GatewayClient("http://g", transport=Unreachable()) as gateway:
        with pytest.raises(NotReady, match="The gateway cannot be asked: ConnectError"):
            await gateway.seeds.bank(soon())
    bank.answer = JSONResponse({"not": "a seed"})
    async with RouterClient("http://r", transport=httpx.ASGITransport(bank.app)) as router:
        with pytest.raises(RouterUnavailable, match="the answer is not a Seed"):
            await router.seeds.get(ID, soon())
        with pytest.raises(OSError, match="No such file"):
            await router.seeds.add(tmp_path / "missing.mp4", REQUEST, soon())
