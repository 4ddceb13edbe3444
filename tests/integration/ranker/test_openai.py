"""The openai engine against a server of the test's own: meeting it, its model and key, odd answers, refusals."""

import asyncio
import math
from typing import Any

import pytest
from pydantic import SecretStr

from ranker_svc.answers import p_yes
from ranker_svc.engines.protocol import EngineStartError, FrameImage
from services.deadline import Deadline
from services.errors import DeadlineExceeded, InvalidPayload, NotReady, Overloaded
from tests.integration.ranker.chat_server import (
    DISTRIBUTION,
    KEY,
    PROMPTS,
    ChatServer,
    chat_servers,
    engine,
    listed,
    soon,
    until,
)


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
