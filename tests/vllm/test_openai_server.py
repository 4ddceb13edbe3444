"""The openai engine against a real vLLM server process with the bundled model: both readings, and the server's end."""

import asyncio
import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from ranker_svc.answers import p_yes
from ranker_svc.engines.openai.engine import OpenAIEngine
from ranker_svc.engines.openai.meeting import LogprobsMode
from ranker_svc.engines.openai.messages import Dialect
from ranker_svc.engines.protocol import EngineStartError, FrameImage, RawAnswer
from ranker_svc.engines.reference import ReferenceEngine
from ranker_svc.settings import Settings, bundled_model
from services.contracts import Frame, IssueQuestions, PromptName
from services.deadline import Deadline
from services.errors import InvalidPayload, NotReady
from services.prompts import plan
from tests.bench.parity import Said, apart, ask, ranker_with
from tests.integration.ranker.chat_server import ChatServer, chat_servers
from tests.servers import free_port
from tests.vllm.server import NAME, VllmServer, vllm_server

PROMPTS: tuple[PromptName, ...] = ("P1", "P2", "P3", "P4")
# The server sees its first frames with libraries that are still being loaded.
FIRST_S = 240.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    with vllm_server(tmp_path_factory.mktemp("vllm")) as started:
        yield started


@pytest.fixture(scope="module")
def frames() -> list[FrameImage]:
    rng = np.random.default_rng(7)
    made = []
    for i in range(4):
        blocks = Image.fromarray(rng.integers(0, 255, (6, 5, 3), dtype=np.uint8))
        file = io.BytesIO()
        blocks.resize((110, 140), Image.Resampling.NEAREST).save(file, "JPEG", quality=90)
        made.append(FrameImage(file.getvalue(), Image.open(file).convert("RGB"), float(i)))
    return made


@pytest.fixture(scope="module")
def prompts() -> tuple[str, ...]:
    asked = [
        IssueQuestions(id=f"{name}_{number}", name=name, definition=f"What {name} is: things burn.", prompt=prompt)
        for name in ("arson", "cruelty")
        for number, prompt in enumerate(PROMPTS)
    ]
    return plan(asked, 'The uploader wrote the quoted text.\nTitle: "a day out"').prompts


@pytest.fixture(scope="module")
def expected(frames: list[FrameImage], prompts: tuple[str, ...]) -> tuple[RawAnswer, ...]:
    async def ask() -> tuple[RawAnswer, ...]:
        reference = ReferenceEngine(bundled_model())
        try:
            await reference.start()
            return (await reference.answer(frames, prompts, Deadline.after(FIRST_S))).answers
        finally:
            await reference.close()

    return asyncio.run(ask())


def dialect_of(engine: OpenAIEngine) -> Dialect:
    found = engine._pool.replicas[0].client.dialect
    assert found is not None
    return found


@pytest.mark.parametrize(("mode", "reading"), [("token_ids", "token_ids"), ("top", "top"), ("auto", "token_ids")])
async def test_both_readings_agree_with_the_reference(
    server: VllmServer,
    frames: list[FrameImage],
    prompts: tuple[str, ...],
    expected: tuple[RawAnswer, ...],
    mode: LogprobsMode,
    reading: str,
) -> None:
    engine = OpenAIEngine([f"{server.url}/v1"], NAME, mode=mode)
    try:
        await engine.start()
        found = (await engine.answer(frames, prompts, Deadline.after(FIRST_S))).answers
        assert dialect_of(engine).reading == reading
    finally:
        await engine.close()
    assert len({round(p_yes(each), 3) for each in expected}) > 4, "prompts that differ must have answers that differ"
    for one, other in zip(found, expected, strict=True):
        assert p_yes(one) == pytest.approx(p_yes(other), abs=0.02)
        assert one.answer_mass == pytest.approx(other.answer_mass, abs=0.02)


async def test_its_token_ids_are_those_of_the_reference(server: VllmServer) -> None:
    reference = ReferenceEngine(bundled_model())
    engine = OpenAIEngine([server.url], NAME)
    try:
        await reference.start()
        await engine.start()
        dialect = dialect_of(engine)
        assert dialect.tokens == reference._ready().tokens
        # The bundled template renders the beginning of sequence itself.
        assert dialect.add_special_tokens is False
    finally:
        await engine.close()
        await reference.close()


async def test_what_the_server_refuses_is_told_as_what_it_is(server: VllmServer, frames: list[FrameImage]) -> None:
    wrong = OpenAIEngine([server.url], "nobody")
    with pytest.raises(EngineStartError, match=f"`nobody`; it has `{NAME}`"):
        await wrong.start()
    await wrong.close()
    engine = OpenAIEngine([server.url], NAME)
    try:
        await engine.start()
        with pytest.raises(InvalidPayload):
            await engine.answer(frames, ["very " * 5000], Deadline.after(FIRST_S))
        with pytest.raises(InvalidPayload):
            await engine.answer(frames * 5, ["Is it?"], Deadline.after(FIRST_S))
        assert await engine.health() is None
    finally:
        await engine.close()


async def test_a_dead_replica_beside_it_is_left_out(
    server: VllmServer, frames: list[FrameImage], prompts: tuple[str, ...]
) -> None:
    engine = OpenAIEngine([f"http://127.0.0.1:{free_port()}", server.url], NAME)
    try:
        await engine.start()
        assert await engine.health() is None
        assert len((await engine.answer(frames, prompts, Deadline.after(FIRST_S))).answers) == len(prompts)
    finally:
        await engine.close()


async def test_it_judges_the_bundled_clips_as_the_reference_does(
    server: VllmServer, judged_by_reference: Said, clips: list[tuple[Frame, ...]]
) -> None:
    settings = Settings(engine="openai", openai_urls=(server.url,), openai_model=NAME)
    async with ranker_with(settings) as ranker:
        said = await ask(ranker, clips)
    found = apart(judged_by_reference.judgements, said.judgements)
    assert found.holds(), found


# The last one: it ends the server.
async def test_a_killed_server_is_replaced_by_another_or_told(
    server: VllmServer, frames: list[FrameImage], prompts: tuple[str, ...]
) -> None:
    async with chat_servers(ChatServer(models=(NAME,))) as (other,):
        alone = OpenAIEngine([server.url], NAME)
        pool = OpenAIEngine([server.url, other.url], NAME, fingerprint="the same")
        try:
            await alone.start()
            await pool.start()
            await pool.answer(frames, prompts, Deadline.after(FIRST_S))
            assert not other.asked
            server.kill()
            assert len((await pool.answer(frames, prompts, Deadline.after(10.0))).answers) == len(prompts)
            assert len(other.asked) == len(prompts)
            with pytest.raises(NotReady):
                await alone.answer(frames, prompts, Deadline.after(10.0))
            assert f"127.0.0.1:{server.port}" in str(await alone.health())
        finally:
            await alone.close()
            await pool.close()
