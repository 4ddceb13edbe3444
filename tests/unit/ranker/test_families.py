"""How much room a frame of each family needs."""

from types import SimpleNamespace

import pytest

from ranker_svc.engines.families import family_of


@pytest.mark.parametrize(("model_type", "tokens"), [("llava", 640), ("llava_next", 1176)])
def test_room_for_a_frame_at_336_pixels(model_type: str, tokens: int) -> None:
    tower = SimpleNamespace(image_size=336, patch_size=14)
    assert family_of(SimpleNamespace(model_type=model_type, vision_config=tower)).frame_tokens == tokens
