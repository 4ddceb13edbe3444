"""The exported ranker loads as any LLaVA checkpoint does, with the weights that were trained."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoProcessor, LlavaForConditionalGeneration

from offline.training.clip_model import GRID, IMAGE_SIZE
from offline.training.dense import normalise
from tests.integration.offline.conftest import Exported


def test_parameters_have_the_published_names(exported: Exported) -> None:
    names = set(load_file(exported.folder / "model.safetensors"))
    towers = {name for name in names if "vision" in name}
    assert towers
    assert all(name.startswith("vision_tower.vision_model.") for name in towers)
    for layer in range(4):
        assert f"vision_tower.vision_model.encoder.layers.{layer}.self_attn.q_proj.weight" in names
    assert {"multi_modal_projector.linear_1.weight", "multi_modal_projector.linear_2.bias"} <= names
    assert {name.split(".")[0] for name in names} <= {
        "vision_tower",
        "multi_modal_projector",
        "language_model",
        "lm_head",
    }
    assert "language_model.model.embed_tokens.weight" in names


def test_weights_are_float16(exported: Exported) -> None:
    tensors = load_file(exported.folder / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert json.loads((exported.folder / "config.json").read_text())["architectures"] == [
        "LlavaForConditionalGeneration"
    ]


def test_it_loads_with_equal_weights(exported: Exported, loaded: Any) -> None:
    assert isinstance(loaded, LlavaForConditionalGeneration)
    state = loaded.state_dict()
    assert state.keys() == exported.state.keys()
    for name, tensor in exported.state.items():
        assert torch.equal(state[name], tensor), name
    assert loaded.lm_head.weight.data_ptr() == loaded.get_input_embeddings().weight.data_ptr(), "tied"


def test_the_processor_squashes_frames_as_training_does(exported: Exported) -> None:
    made = AutoProcessor.from_pretrained(exported.folder)
    frame = np.random.default_rng(0).integers(0, 256, (IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    seen = made(images=[Image.fromarray(frame)], text=["<s>USER: <image>\nHm? ASSISTANT:"], return_tensors="pt")
    torch.testing.assert_close(seen["pixel_values"], normalise(torch.from_numpy(frame)[None]), atol=1e-5, rtol=0)
    ids = seen["input_ids"][0].tolist()
    assert ids.count(exported.tokens.convert_tokens_to_ids("<image>")) == GRID * GRID
    # Left half dark, right half bright: a crop of the middle would lose the edges of a wide picture.
    wide = np.zeros((60, 300, 3), dtype=np.uint8)
    wide[:, 290:] = 255
    squashed = made.image_processor(images=[Image.fromarray(wide)], return_tensors="pt")["pixel_values"][0]
    assert squashed.shape == (3, IMAGE_SIZE, IMAGE_SIZE)
    assert squashed[0, :, -1].min() > 1.0 > -1.0 > squashed[0, :, 0].max()


def test_the_directory_is_complete(exported: Exported) -> None:
    files = {path.name for path in Path(exported.folder).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= files
    assert files & {"chat_template.jinja", "chat_template.json"}
    assert files & {"preprocessor_config.json", "processor_config.json"}
