"""The ranker sees with the router's eyes: open_clip's tower and transformers' give the same patch features."""

from typing import Any

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from offline.training.clip_model import GRID, IMAGE_SIZE, WIDTH, build, model_config
from offline.training.convert import vision_config, vision_state
from offline.training.features import last_block
from services.encoder.open_clip import patch_tokens


@pytest.fixture(scope="module")
def clip() -> Any:
    torch.manual_seed(0)
    model = build(model_config(300, pad_id=0, eos_id=2, layers=3))
    # Fresh biases are zeros and fresh norms are ones: they could be mixed up without a trace.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()


@pytest.fixture(scope="module")
def tower(clip: Any) -> Any:
    config = model_config(300, pad_id=0, eos_id=2, layers=3)
    model = CLIPVisionModel(CLIPVisionConfig(**vision_config(config)))
    model.load_state_dict(vision_state(clip.state_dict()), strict=True)
    return model.eval()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_patch_features_are_the_same(clip: Any, tower: Any, pixels: torch.Tensor) -> None:
    ours = last_block(clip, pixels)
    out = tower(pixel_values=pixels, output_hidden_states=True)
    theirs = out.hidden_states[-1][:, 1:]  # no class token, as LLaVA's `default` strategy selects
    assert ours.shape == theirs.shape == (2, GRID * GRID, WIDTH)
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(out.hidden_states[-2][:, 1:], ours, atol=1e-2), "the layer before it is another one"


@torch.no_grad()
def test_the_router_reads_them_after_the_final_norm(clip: Any, tower: Any, pixels: torch.Tensor) -> None:
    served = patch_tokens(clip.visual, pixels)
    torch.testing.assert_close(clip.visual.ln_post(last_block(clip, pixels)), served, atol=1e-4, rtol=1e-4)
    theirs = tower(pixel_values=pixels, output_hidden_states=True).hidden_states[-1][:, 1:]
    norm = tower.post_layernorm if hasattr(tower, "post_layernorm") else tower.vision_model.post_layernorm
    torch.testing.assert_close(norm(theirs), served, atol=1e-4, rtol=1e-4)


def test_converted_weights_are_copies(clip: Any) -> None:
    state = vision_state(clip.state_dict())
    before = clip.visual.ln_pre.weight.clone()
    state["pre_layrnorm.weight"].zero_()
    assert torch.equal(clip.visual.ln_pre.weight, before)
