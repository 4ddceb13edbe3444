"""Every model family on a tiny checkpoint: how its prompt is rendered, what its processor is told, what it answers."""

import asyncio
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ranker_svc.engines.families import family_of
from ranker_svc.engines.prompting import Prompting
from ranker_svc.engines.protocol import EngineStartError, FrameImage
from ranker_svc.engines.reference import ReferenceEngine
from ranker_svc.settings import FramesWish
from services.deadline import Deadline
from services.torchvision_compat import ensure_torchvision
from tests.integration.ranker.tiny_families import BUILDERS
from tests.integration.ranker.tiny_llava import build_tiny_llava

PROMPTS = [
    "Does this video show a building on fire? Answer Yes or No.",
    "Does this video violate the policy? Answer Yes or No.",
    "Short?",
]
TIMES = (0.3, 1.8, 3.3, 7.0)


@dataclass(frozen=True)
class Expected:
    """The text of a family for two frames and the prompt `Short?`, and the tokens of one, two and three frames."""

    text: str
    frames: str
    placeholders: tuple[int, int, int]


EXPECTED = {
    "llava": Expected("USER: <image><image>Short? ASSISTANT:", "images", (4, 8, 12)),
    # An overview of 4 x 4 and one tile of 4 lines of 4 and an end.
    "llava_next": Expected("<s>[INST] <image>\n<image>\nShort? [/INST]", "images", (36, 72, 108)),
    # Four tokens a frame after pooling, and one behind the last frame.
    "llava_onevision": Expected(
        "<|im_start|>user <video>\nShort?<|im_end|><|im_start|>assistant\n", "video", (5, 9, 13)
    ),
    # Two frames share 11 x 13 cells, which are at least 128.
    "qwen2_5_vl": Expected(
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        "<|vision_start|><|video_pad|><|vision_end|>Short?<|im_end|>\n<|im_start|>assistant\n",
        "video",
        (143, 143, 286),
    ),
    # The same 128 cells are for the whole video.
    "qwen3_vl": Expected(
        "<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|>Short?<|im_end|>\n<|im_start|>assistant\n",
        "video",
        (72, 72, 96),
    ),
}


@pytest.fixture(scope="module", params=sorted(EXPECTED))
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    build: Callable[[Path], Path] = {**BUILDERS, "llava": build_tiny_llava}[request.param]
    return build(tmp_path_factory.mktemp("families") / request.param)


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> Iterator[ReferenceEngine]:
    engine = ReferenceEngine(str(checkpoint), max_frames=4, question_batch=2)
    asyncio.run(engine.start())
    yield engine
    asyncio.run(engine.close())


@pytest.fixture
def prompting(engine: ReferenceEngine) -> Prompting:
    return engine._ready().prompting


@pytest.fixture(scope="module")
def frames(jpegs: list[bytes]) -> list[FrameImage]:
    images = [Image.open(io.BytesIO(jpeg)).convert("RGB") for jpeg in jpegs]
    return [FrameImage(jpeg, image, time) for jpeg, image, time in zip(jpegs, images, TIMES, strict=True)]


def test_the_prompt_is_the_template_s(checkpoint: Path, prompting: Prompting, frames: list[FrameImage]) -> None:
    expected = EXPECTED[checkpoint.name]
    ids = prompting.tokens("Short?", frames[:2])
    assert prompting._tokenizer.decode(ids) == expected.text
    assert prompting.family.frames == expected.frames
    assert ids.count(prompting.placeholder) == (1 if expected.frames == "video" else 2)
    for count, tokens in enumerate(expected.placeholders, start=1):
        encoded = prompting.encode(frames[:count], PROMPTS)
        assert [each.count(prompting.placeholder) for each in encoded.ids] == [tokens] * 3


def test_yes_and_no_follow_the_template(prompting: Prompting) -> None:
    tokens, decode = prompting.answer_tokens(), prompting._tokenizer.decode
    assert {decode([each]).strip().lower() for each in tokens.yes} == {"yes"}
    assert {decode([each]).strip().lower() for each in tokens.no} == {"no"}
    assert len(tokens.yes) > 1 < len(tokens.no)


@pytest.mark.parametrize("hostile", ["<image>", "<video>", "<s></s>", "<|vision_start|><|video_pad|>", "<|im_end|>"])
def test_text_adds_no_special_token(prompting: Prompting, frames: list[FrameImage], hostile: str) -> None:
    tokenizer = prompting._tokenizer
    special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    plain, attacked = (prompting.tokens(f"{prefix} Short?", frames) for prefix in ("", hostile))
    assert [token for token in attacked if token in special] == [token for token in plain if token in special]


def test_media_are_images_or_one_video_with_times(prompting: Prompting, frames: list[FrameImage]) -> None:
    media = prompting.media(frames[:3])
    if prompting.family.frames == "images":
        assert media == {"image": [frame.image for frame in frames[:3]]}
        return
    ((pixels, metadata),) = media["video"]
    assert pixels.shape == (3, 40, 48, 3)
    assert pixels.dtype == np.uint8
    assert [index / metadata["fps"] for index in metadata["frames_indices"]] == list(TIMES[:3])
    # From it processors read the mean rate of the frames: here one in 1.5 s.
    assert 3 / metadata["total_num_frames"] * metadata["fps"] == pytest.approx(1 / 1.5)
    assert metadata["do_sample_frames"] is False


def test_names_of_media_are_their_content_s(prompting: Prompting, frames: list[FrameImage]) -> None:
    names = prompting.media_ids(frames[:2])
    assert {key: len(value) for key, value in names.items()} == {
        key: len(value) for key, value in prompting.media(frames[:2]).items()
    }
    assert names == prompting.media_ids([replace(frame) for frame in frames[:2]])
    assert names != prompting.media_ids(frames[1::-1])
    later = [replace(frame, time_s=frame.time_s + 1.0) for frame in frames[:2]]
    assert (names == prompting.media_ids(later)) is (prompting.family.frames == "images")


def test_frames_of_other_sizes_are_taken(engine: ReferenceEngine, frames: list[FrameImage]) -> None:
    mixed = [frames[0], replace(frames[1], image=frames[1].image.resize((64, 80)))]
    assert len(asyncio.run(engine.answer(mixed, PROMPTS, Deadline.after(60.0))).answers) == 3


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_answers_equal_generation(engine: ReferenceEngine, frames: list[FrameImage], count: int) -> None:
    loaded = engine._ready()
    answers = asyncio.run(engine.answer(frames[:count], PROMPTS, Deadline.after(60.0))).answers
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        logits = _generated(loaded.model, loaded.prompting, frames[:count], prompt)
        yes, no = (np.log(np.exp(logits[list(ids)]).sum()) for ids in (loaded.tokens.yes, loaded.tokens.no))
        assert answer.logit_yes == pytest.approx(yes, abs=1e-3)
        assert answer.logit_no == pytest.approx(no, abs=1e-3)
    assert len({round(answer.logit_yes, 3) for answer in answers}) == len(PROMPTS)


def _generated(model: Any, prompting: Prompting, frames: list[FrameImage], prompt: str) -> "np.ndarray[Any, Any]":
    """Logits of the first token that `generate` gives for this prompt alone, all its tokens seen at once."""
    inputs = prompting._processed(frames, prompting._render(prompt, len(frames)))
    tensors = {key: value for key, value in inputs.items() if hasattr(value, "shape")}
    out = model.generate(**tensors, max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True)
    logits: np.ndarray[Any, Any] = out.logits[0][0].double().numpy()
    return logits


def test_times_reach_the_model(checkpoint: Path, engine: ReferenceEngine, frames: list[FrameImage]) -> None:
    faster = [replace(frame, time_s=frame.time_s / 2) for frame in frames]
    before, after = (
        asyncio.run(engine.answer(each, PROMPTS, Deadline.after(60.0))).answers[0] for each in (frames, faster)
    )
    assert (before != after) is checkpoint.name.startswith("qwen")


def test_engine_arguments(checkpoint: Path, prompting: Prompting) -> None:
    arguments = prompting.family.engine_arguments(8)
    video = prompting.family.frames == "video"
    assert arguments["limit_mm_per_prompt"] == ({"image": 0, "video": 1} if video else {"image": 8, "video": 0})
    given = arguments.get("mm_processor_kwargs", {})
    match checkpoint.name:
        case "llava_next":
            assert given == arguments["hf_overrides"] == {"image_grid_pinpoints": [[32, 32]]}
            # vLLM keeps processors by their arguments.
            assert hash(tuple(given["image_grid_pinpoints"]))
        case "qwen2_5_vl":
            assert given == {"videos_kwargs": {"size": {"shortest_edge": 128 * 64, "longest_edge": 768 * 64}}}
        case "qwen3_vl":
            assert given["videos_kwargs"]["size"] == {"shortest_edge": 128 * 64, "longest_edge": 8 * 768 * 64}
        case _:
            assert given == {}


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_frames_can_be_images_where_a_family_takes_both(family: str, tmp_path: Path, frames: list[FrameImage]) -> None:
    engine = ReferenceEngine(str(BUILDERS[family](tmp_path / family)), frames_as="images")
    asyncio.run(engine.start())
    prompting = engine._ready().prompting
    assert prompting.family.frames == "images"
    assert prompting.tokens("Short?", frames[:2]).count(prompting.placeholder) == 2
    assert len(asyncio.run(engine.answer(frames[:2], PROMPTS, Deadline.after(60.0))).answers) == 3
    asyncio.run(engine.close())


@pytest.mark.parametrize(("family", "wish"), [("llava_next", "video"), ("llava_onevision", "images")])
def test_a_family_says_what_it_does_not_take(family: str, wish: FramesWish, tmp_path: Path) -> None:
    engine = ReferenceEngine(str(BUILDERS[family](tmp_path / "model")), frames_as=wish)
    with pytest.raises(EngineStartError, match=f"'{family}' take no {wish}"):
        asyncio.run(engine.start())
    asyncio.run(engine.close())


def test_a_template_without_videos_is_refused(tmp_path: Path) -> None:
    directory = BUILDERS["qwen2_5_vl"](tmp_path / "model")
    template = directory / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|video_pad|>", ""))
    engine = ReferenceEngine(str(directory))
    with pytest.raises(EngineStartError, match="does not give the video one video token"):
        asyncio.run(engine.start())
    asyncio.run(engine.close())


def test_an_unknown_model_type_gets_images_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    ensure_torchvision()
    from transformers import PretrainedConfig

    config = PretrainedConfig()
    config.model_type = "newcomer"
    assert family_of(config).frames == "images"
    assert [record.message for record in caplog.records] == ["unknown model type: frames go in as images"]
    with pytest.raises(EngineStartError, match="take no video"):
        family_of(config, "video")


def test_weights_have_published_names(checkpoint: Path) -> None:
    from safetensors import safe_open

    assert json.loads((checkpoint / "config.json").read_text())["model_type"] == checkpoint.name
    with safe_open(checkpoint / "model.safetensors", "pt") as file:
        towers = [name for name in file.keys() if "vision_tower." in name]  # noqa: SIM118
    assert all("vision_tower.vision_model." in name for name in towers)
