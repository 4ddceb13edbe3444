"""The reference engine against transformers' own generation, on a tiny random checkpoint."""

import asyncio
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ranker_svc.engines.protocol import EngineResult, EngineStartError, FrameImage
from ranker_svc.engines.reference import ReferenceEngine
from services.calibration import checkpoint_fingerprint
from services.deadline import Deadline
from services.errors import InvalidPayload
from tests.integration.ranker.tiny_llava import TOKENS_PER_FRAME, build_tiny_llava

PROMPTS = [
    "Does this video show a building on fire? Answer Yes or No.",
    "Does this video violate the policy? Answer Yes or No.",
    "Short?",
    'The uploader wrote the quoted text.\nTitle: "x"\nDoes this video violate the policy? Answer Yes or No.',
]


@pytest.fixture(scope="module")
def engine(tiny_llava: Path) -> Iterator[ReferenceEngine]:
    # Two questions a batch: the four prompts need several batches, and three leave a batch of one.
    engine = ReferenceEngine(str(tiny_llava), question_batch=2)
    asyncio.run(engine.start())
    yield engine
    asyncio.run(engine.close())


@pytest.fixture
def frames(jpegs: list[bytes]) -> list[FrameImage]:
    return [FrameImage(jpeg, Image.open(io.BytesIO(jpeg)).convert("RGB")) for jpeg in jpegs]


def ask(engine: ReferenceEngine, frames: list[FrameImage], prompts: list[str]) -> EngineResult:
    return asyncio.run(engine.answer(frames, prompts, Deadline.after(60.0)))


def generated_logits(engine: ReferenceEngine, frames: list[FrameImage], prompt: str) -> "np.ndarray[Any, Any]":
    """Logits of the first token that `generate` gives for this prompt alone, by transformers' documented way."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(engine._model, local_files_only=True)
    content = [{"type": "image", "image": frame.image} for frame in frames] + [{"type": "text", "text": prompt}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    model = engine._ready().model
    out = model.generate(**inputs, max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True)
    logits: np.ndarray[Any, Any] = out.logits[0][0].float().numpy()
    return logits


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("prompts", [PROMPTS, PROMPTS[:3], PROMPTS[:1]], ids=["four", "three", "one"])
def test_answers_equal_generation(
    engine: ReferenceEngine, frames: list[FrameImage], count: int, prompts: list[str]
) -> None:
    result = ask(engine, frames[:count], prompts)
    tokens = engine._ready().tokens
    assert len(result.answers) == len(prompts)
    for prompt, answer in zip(prompts, result.answers, strict=True):
        logits = generated_logits(engine, frames[:count], prompt).astype(np.float64)
        total = np.log(np.exp(logits).sum())
        yes, no = (np.log(np.exp(logits[list(ids)]).sum()) for ids in (tokens.yes, tokens.no))
        assert answer.logit_yes == pytest.approx(yes, abs=1e-4)
        assert answer.logit_no == pytest.approx(no, abs=1e-4)
        assert answer.answer_mass == pytest.approx(np.exp(yes - total) + np.exp(no - total), abs=1e-5)
    if len(prompts) > 1:
        assert len({round(answer.logit_yes, 3) for answer in result.answers}) == len(prompts)


def test_frames_and_their_order_matter(engine: ReferenceEngine, frames: list[FrameImage]) -> None:
    forward = ask(engine, frames[:2], PROMPTS[:1]).answers[0]
    assert forward != ask(engine, frames[1::-1], PROMPTS[:1]).answers[0]
    assert forward == ask(engine, frames[:2], PROMPTS[:1]).answers[0]


def test_the_vision_tower_runs_once_however_many_questions(engine: ReferenceEngine, frames: list[FrameImage]) -> None:
    seen: list[int] = []
    tower = engine._ready().model.model.vision_tower
    handle = tower.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[0]))
    try:
        ask(engine, frames, PROMPTS)
    finally:
        handle.remove()
    assert seen == [4]


@pytest.mark.parametrize("hostile", ["<image>", "<s></s><image>", "<im<image>age>"])
def test_text_cannot_add_frames_or_special_tokens(
    engine: ReferenceEngine, frames: list[FrameImage], hostile: str
) -> None:
    prompting = engine._ready().prompting
    encoded = prompting.encode(frames[:2], [f"{hostile} {PROMPTS[0]}", PROMPTS[1]])
    special = {0, 1, 2}
    for ids in encoded.ids:
        assert ids.count(prompting.placeholder) == 2 * TOKENS_PER_FRAME
        assert not special & set(ids)


def test_yes_and_no_follow_the_template(engine: ReferenceEngine) -> None:
    prompting, tokens = engine._ready().prompting, engine._ready().tokens
    words = {prompting._tokenizer.decode([i]).strip().lower() for i in tokens.yes}
    assert words == {"yes"}
    assert prompting._tokenizer.convert_tokens_to_ids("\u0120Yes") in tokens.yes
    assert prompting._tokenizer.convert_tokens_to_ids("\u0120No") in tokens.no


def test_identity_is_the_checkpoint(engine: ReferenceEngine, tiny_llava: Path) -> None:
    assert engine.identity.engine == "reference"
    assert engine.identity.fingerprint == checkpoint_fingerprint(tiny_llava)
    assert asyncio.run(engine.health()) is None


def test_too_many_tokens_are_refused_with_both_numbers(tmp_path: Path, frames: list[FrameImage]) -> None:
    engine = ReferenceEngine(str(build_tiny_llava(tmp_path / "short", max_positions=64)))
    asyncio.run(engine.start())
    with pytest.raises(InvalidPayload, match="tokens; the model takes 64"):
        ask(engine, frames, ["why? " * 40])
    asyncio.run(engine.close())


def refusal(model: str) -> str:
    engine = ReferenceEngine(model)
    with pytest.raises(EngineStartError) as caught:
        asyncio.run(engine.start())
    assert asyncio.run(engine.health()) is not None
    asyncio.run(engine.close())
    return str(caught.value)


def test_models_that_cannot_be_served_are_refused_with_the_reason(tiny_llava: Path, tmp_path: Path) -> None:
    assert "neither a directory nor a hub id" in refusal(str(tmp_path / "absent"))
    assert "cannot be loaded" in refusal(str(tmp_path))
    wordless = build_tiny_llava(tmp_path / "wordless", corpus=["abc " * 20])
    assert "single token after the chat template" in refusal(str(wordless))
    untemplated = shutil.copytree(tiny_llava, tmp_path / "untemplated")
    (untemplated / "chat_template.jinja").unlink()
    assert "chat template" in refusal(str(untemplated))
    text_only = shutil.copytree(tiny_llava, tmp_path / "text_only")
    config = json.loads((text_only / "config.json").read_text())["text_config"]
    (text_only / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))
    assert refusal(str(text_only))


def test_a_device_that_is_not_there_is_named(tiny_llava: Path) -> None:
    engine = ReferenceEngine(str(tiny_llava), device="nonsense")
    with pytest.raises(EngineStartError, match="'nonsense' \\(WINNOW_RANKER_DEVICE\\)"):
        asyncio.run(engine.start())
    asyncio.run(engine.close())
