"""The openai engine against a server of the test's own: meeting it, its model and key, odd answers, refusals."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from pydantic import SecretStr

from ranker_svc.answers import p_yes
from ranker_svc.app import create_app
from ranker_svc.engines.create import create_engine
from ranker_svc.engines.openai.engine import OpenAIEngine
from ranker_svc.engines.protocol import EngineStartError, FrameImage
from ranker_svc.settings import Settings
from services.contracts import RankResult
from services.deadline import Deadline
from services.errors import DeadlineExceeded, InvalidPayload, NotReady, Overloaded
from tests.integration.ranker.chat_server import DISTRIBUTION, ChatServer, chat_servers, listed
from tests.unit.docs.tables import DOCS, cells, section_rows

KEY = "sk-very-secret"
PROMPTS = ("Is it? Answer Yes or No.", "Is it that? Answer Yes or No.")


@pytest.fixture
def frames(jpegs: list[bytes]) -> list[FrameImage]:
    return [FrameImage(jpeg, Image.new("RGB", (48, 40)), float(i)) for i, jpeg in enumerate(jpegs[:2])]


@asynccontextmanager
async def engine(*urls: str, model: str = "m", **settings: Any) -> AsyncIterator[OpenAIEngine]:
    made = OpenAIEngine(urls, model, **{"check_s": 0.1, **settings})
    try:
        await made.start()
        yield made
    finally:
        await made.close()


def soon() -> Deadline:
    return Deadline.after(10.0)


async def test_every_prompt_is_asked_and_answered_in_order(frames: list[FrameImage]) -> None:
    async with chat_servers(ChatServer()) as (server,), engine(server.url) as asked:
        server.answer = lambda body: (
            200,
            listed(
                {"Yes": math.log(0.75 if "that" in body["messages"][0]["content"][-1]["text"] else 0.25), "No": -2.0}
            ),
        )
        result = await asked.answer(frames, PROMPTS, soon())
        no = math.exp(-2.0)
        assert [p_yes(answer) for answer in result.answers] == pytest.approx([0.25 / (0.25 + no), 0.75 / (0.75 + no)])
        assert [len(each["messages"][0]["content"]) for each in server.asked] == [3, 3]
        assert set(result.stages) == {"preprocess", "infer"}
        assert await asked.health() is None


async def test_a_server_that_takes_fewer_likeliest_tokens_is_asked_for_fewer(frames: list[FrameImage]) -> None:
    async with chat_servers(ChatServer(most=5)) as (server,), engine(server.url) as asked:
        await asked.answer(frames, PROMPTS[:1], soon())
        assert server.asked[0]["top_logprobs"] == 5


async def test_a_server_with_the_newer_limit_is_asked_with_it(frames: list[FrameImage]) -> None:
    server = ChatServer()
    server.answer = lambda body: (200, listed(DISTRIBUTION)) if "max_completion_tokens" in body else (400, {})
    async with chat_servers(server), engine(server.url) as asked:
        await asked.answer(frames, PROMPTS[:1], soon())
        assert server.asked[0]["max_completion_tokens"] == 1
        assert "max_tokens" not in server.asked[0]


async def test_the_key_is_sent_and_a_wrong_one_is_a_start_error_that_does_not_repeat_it() -> None:
    async with chat_servers(ChatServer(key=KEY)) as (server,):
        async with engine(server.url, key=SecretStr(KEY)) as asked:
            assert await asked.health() is None
        with pytest.raises(EngineStartError, match="refuses the API key") as refused:
            async with engine(server.url, key=SecretStr(f"{KEY}-too")):
                pass
        assert KEY not in str(refused.value)


async def test_a_missing_model_is_a_start_error_that_names_the_ones_there_are() -> None:
    async with chat_servers(ChatServer(models=("a", "b"))) as (server,):
        with pytest.raises(EngineStartError, match=r"`m`; it has `a`, `b`"):
            async with engine(server.url):
                pass


async def test_named_tokens_where_the_server_has_none_is_a_start_error() -> None:
    async with chat_servers(ChatServer()) as (server,):
        with pytest.raises(EngineStartError, match="WINNOW_RANKER_OPENAI_LOGPROBS=top"):
            async with engine(server.url, mode="token_ids"):
                pass


VOCABULARY = {"<s>": 1, "Yes": 11, " Yes": 12, " No": 13, " no": 14}


def by_id(body: dict[str, Any]) -> tuple[int, Any]:
    """As vLLM answers: what was named, by id."""
    return 200, listed({f"token_id:{each}": math.log(each / 100) for each in body["logprob_token_ids"]})


@pytest.mark.parametrize(("template", "added"), [("<s>U: {} A:", False), ("U: {} A:", True)])
async def test_tokens_are_resolved_by_the_servers_own_tokenizer(
    frames: list[FrameImage], template: str, added: bool
) -> None:
    server = ChatServer()
    server.vocabulary, server.template, server.answer = VOCABULARY, template, by_id
    async with chat_servers(server), engine(server.url) as asked:
        (answer,) = (await asked.answer(frames, PROMPTS[:1], soon())).answers
        assert server.asked[0]["logprob_token_ids"] == [11, 12, 13, 14]
        # A beginning of sequence once, whether or not the template renders it.
        assert server.asked[0]["add_special_tokens"] is added
        assert p_yes(answer) == pytest.approx(23 / 50)
        assert answer.answer_mass == pytest.approx(0.5)


async def test_a_model_without_single_tokens_for_the_answers_is_a_start_error() -> None:
    server = ChatServer()
    server.vocabulary = {"<s>": 1, " Yes": 12}
    async with chat_servers(server):
        with pytest.raises(EngineStartError, match="no spelling of 'no'"):
            async with engine(server.url):
                pass


async def test_a_server_that_ignores_named_tokens_is_read_by_rank(frames: list[FrameImage]) -> None:
    server = ChatServer()
    server.vocabulary = VOCABULARY
    async with chat_servers(server), engine(server.url) as asked:
        await asked.answer(frames, PROMPTS[:1], soon())
        assert server.asked[0]["top_logprobs"] == 20
        assert "logprob_token_ids" not in server.asked[0]


@pytest.mark.parametrize(
    "body", [b"<html>", {"choices": [{"message": {}, "logprobs": None}]}, listed({"Yes": -0.1}), {"choices": []}]
)
async def test_a_server_without_log_probabilities_is_a_start_error(body: Any) -> None:
    server = ChatServer()
    server.answer = lambda _: (200, body)
    async with chat_servers(server):
        with pytest.raises(EngineStartError, match=r"log-probabilities|likeliest tokens"):
            async with engine(server.url):
                pass


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        {"choices": []},
        b'{"choices":[{"logprobs":{"content":[{"token":"Yes","logprob":NaN}]}}]}',
        listed({"Yes": -0.1, "No": -0.1}),
        b"[" + b" " * (17 * 1024 * 1024) + b"]",
    ],
    ids=["text", "no choice", "nan", "more than 1", "huge"],
)
async def test_an_odd_answer_is_never_a_probability(frames: list[FrameImage], body: Any) -> None:
    async with chat_servers(ChatServer()) as (server,), engine(server.url) as asked:
        server.answer = lambda _: (200, body)
        with pytest.raises(NotReady, match=server.name):
            await asked.answer(frames, PROMPTS[:1], soon())


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"message": "Input length (4646) exceeds model's maximum context length (4096).", "code": 400}),
        (400, {"message": "x", "code": "context_length_exceeded"}),
        (400, {"message": "At most 16 image(s) may be provided in one prompt."}),
        (413, {}),
    ],
)
async def test_what_is_too_long_is_an_error_of_the_payload(frames: list[FrameImage], status: int, error: Any) -> None:
    async with chat_servers(ChatServer()) as (server,), engine(server.url) as asked:
        server.answer = lambda _: (status, {"error": error})
        with pytest.raises(InvalidPayload):
            await asked.answer(frames, PROMPTS, soon())
        assert await asked.health() is None


async def test_another_refusal_says_its_status_and_not_the_servers_words(frames: list[FrameImage]) -> None:
    async with chat_servers(ChatServer()) as (server,), engine(server.url) as asked:
        server.answer = lambda _: (400, {"error": {"message": f"bad {KEY}", "code": "bad_image"}})
        with pytest.raises(NotReady, match="refuses the prompt: 400 bad_image") as refused:
            await asked.answer(frames, PROMPTS, soon())
        assert KEY not in refused.value.detail


async def test_overload_is_told_as_overload(frames: list[FrameImage]) -> None:
    async with chat_servers(ChatServer()) as (server,), engine(server.url) as asked:
        server.answer = lambda _: (429, {})
        with pytest.raises(Overloaded):
            await asked.answer(frames, PROMPTS, soon())
        server.answer = lambda _: (200, listed(DISTRIBUTION))
        assert len((await asked.answer(frames, PROMPTS, soon())).answers) == 2


async def test_a_deadline_and_a_caller_that_leaves_end_the_calls(frames: list[FrameImage]) -> None:
    async with chat_servers(ChatServer()) as (server,), engine(server.url) as asked:
        server.held = asyncio.Event()
        late = asyncio.create_task(asked.answer(frames, PROMPTS * 3, Deadline.after(2.0)))
        await until(lambda: server.now == 6)
        with pytest.raises(DeadlineExceeded):
            await late
        # The server sees that nobody waits: vLLM aborts the request then.
        await until(lambda: server.left == 6)
        # One caller with too little time says nothing about the server, however much it asked.
        assert await asked.health() is None
        caller = asyncio.create_task(asked.answer(frames, PROMPTS, soon()))
        await until(lambda: server.now == 2)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await until(lambda: server.left == 8)


async def test_identity_is_what_was_set_or_what_the_server_tells(frames: list[FrameImage]) -> None:
    async with chat_servers(ChatServer()) as (server,):
        async with engine(server.url, fingerprint="f" * 64) as asked:
            assert (asked.identity.name, asked.identity.fingerprint) == ("m", "f" * 64)
        async with engine(server.url) as first, engine(server.url) as second:
            assert first.identity == second.identity
            assert first.identity.engine == "openai"
        server.root = "/models/other"
        async with engine(server.url) as third:
            assert third.identity.fingerprint != first.identity.fingerprint


async def test_the_settings_make_it() -> None:
    async with chat_servers(ChatServer(key=KEY)) as (server,):
        made = create_engine(
            Settings(
                engine="openai",
                openai_urls=f"{server.url}/v1 , {server.url}",
                openai_model="m",
                openai_api_key=SecretStr(KEY),
                fingerprint="abc",
            )
        )
        await made.start()
        assert (made.identity.fingerprint, await made.health(), made.waiting) == ("abc", None, 0)
        assert made.collector is not None
        page = (DOCS / "operations/metrics.md").read_text(encoding="utf-8")
        documented = {cells(row)[0]: cells(row)[1:] for row in section_rows(page, "Metrics of model servers")[2:]}
        suffix = {"counter": "_total", "gauge": ""}
        assert documented == {
            f"{each.name}{suffix[each.type]}": [each.type, "replica", each.documentation]
            for each in made.collector.collect()
        }
        samples = [sample for metric in made.collector.collect() for sample in metric.samples]
        # One server, named twice.
        assert {sample.labels["replica"] for sample in samples} == {server.name}
        assert [sample.value for sample in samples if sample.name == "winnow_ranker_replica_up"] == [1.0]
        await made.close()


async def test_a_ranker_whose_pool_is_down_starts_says_so_and_serves_once_it_is_up(
    tmp_path: Path, rank_body: Callable[..., dict[str, Any]]
) -> None:
    server = ChatServer(key=KEY)
    app = create_app(
        Settings(
            engine="openai",
            openai_urls=(server.url,),
            openai_model="m",
            openai_api_key=SecretStr(KEY),
            openai_check_s=0.1,
            calibrators_dir=tmp_path,
        )
    )
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(with_state), base_url="http://ranker") as client:
            down = await client.get("/health/ready")
            assert (down.status_code, server.name in down.json()["missing"]["engine"]) == (503, True)
            refused = await client.post("/v1/rank", json=rank_body())
            assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
            async with chat_servers(server):
                async with asyncio.timeout(10.0):
                    while (await client.get("/health/ready")).status_code != 200:
                        await asyncio.sleep(0.02)
                result = RankResult.model_validate_json((await client.post("/v1/rank", json=rank_body())).content)
                metrics = (await client.get("/metrics")).text
    probability = math.exp(-0.5) + math.exp(-4.0)
    assert result.issues[0].answers[0].p_yes == pytest.approx(probability / (probability + math.exp(-1.25)))
    assert result.model.engine == "openai"
    assert result.warnings == ()
    assert f'winnow_ranker_replica_up{{replica="{server.name}"}} 1.0' in metrics
    assert KEY not in metrics


def test_a_pool_without_servers_is_refused() -> None:
    with pytest.raises(ValueError, match="openai_urls"):
        Settings(engine="openai", openai_urls=" , ")


async def until(true: Any, seconds: float = 5.0) -> None:
    """Wait for a condition; fail where it does not come."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)
