"""Training pictures say truly what lies where, and vary in everything that does not matter."""

import numpy as np
import pytest
from PIL import Image

from offline.demo_world.art import Art
from offline.demo_world.scene import WORLD_SIZE, Sprite
from offline.training.pictures import Painter, backdrop, disguise

GRID = 8


@pytest.fixture(scope="module")
def painter(art: Art) -> Painter:
    return Painter(art, GRID)


def still(name: str, x: float, y: float, side: float) -> Sprite:
    return Sprite(name, (x, y), (x, y), (side, side), (0.0, 0.0), False)


def test_pictures_are_labelled_and_drawn_by_their_seed(painter: Painter) -> None:
    for seed in range(6):
        one, again = (painter.picture(np.random.default_rng(seed)) for _ in range(2))
        assert one.pixels.shape == (WORLD_SIZE, WORLD_SIZE, 3)
        assert one.pixels.dtype == np.uint8
        assert one.under.shape == (GRID, GRID)
        assert one.under.min() >= -1
        assert one.under.max() < len(one.names)
        assert (one.pixels == again.pixels).all()
        assert one.names == again.names


def test_a_patch_belongs_to_what_covers_it(painter: Painter) -> None:
    left, right = still("fire", 40, 80, 60), still("boy", 120, 80, 60)
    for seed in range(8):
        made = painter.draw(np.random.default_rng(seed), [left, right], 0.0)
        assert made.names == ("fire", "boy")
        assert made.under[4, 2] == 0 or made.under[3, 2] == 0
        assert made.under[4, 5] == 1 or made.under[4, 6] == 1
        assert (made.under[0] == -1).all(), "nothing reaches the upper edge"


def test_what_is_in_front_hides_what_is_behind(painter: Painter) -> None:
    behind, front = still("fire", 80, 80, 60), still("boy", 80, 80, 80)
    made = painter.draw(np.random.default_rng(1), [behind, front], 0.0)
    assert 1 in made.under
    assert (made.under == 0).sum() < (made.under == 1).sum()


def test_a_disguise_keeps_the_shape_and_changes_the_look(art: Art) -> None:
    sprite = art.sprite("fire", "noto")
    changed = outlined = 0
    for seed in range(40):
        made = disguise(sprite, np.random.default_rng(seed))
        assert made.mode == "RGBA"
        if made.size == sprite.size:
            assert made.getchannel("A").tobytes() == sprite.getchannel("A").tobytes()
            changed += made.tobytes() != sprite.tobytes()
        else:
            outlined += 1
            before, after = (np.asarray(each.getchannel("A")) > 0 for each in (sprite, made))
            assert after.sum() > before.sum(), "a stroke around it"
    assert changed > 10
    assert outlined > 5


def test_backdrops_differ() -> None:
    made = [backdrop(np.random.default_rng(seed)) for seed in range(30)]
    assert {image.size for image in made} == {(WORLD_SIZE, WORLD_SIZE)}
    assert {image.mode for image in made} == {"RGB"}
    assert len({image.tobytes() for image in made}) == 30
    plain = [image for image in made if len(image.getcolors(WORLD_SIZE**2) or ()) == 1]
    assert plain
    assert isinstance(made[0], Image.Image)
