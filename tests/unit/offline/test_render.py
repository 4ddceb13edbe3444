"""Frames, and labels that lie where the sprites are."""

import numpy as np
import pytest

from offline.demo_world.art import Art, Style
from offline.demo_world.render import background, draw, draw_labelled
from offline.demo_world.scene import WORLD_SIZE, Background, Pools, Shot, Sprite
from offline.demo_world.splits import scene_at
from tests.unit.offline.toy_art import colour

GREY = Background("gradient", ((120, 120, 120), (120, 120, 120)), 1)
GRID = 8


def still(name: str, x: float, y: float, size: float = 60.0) -> Sprite:
    return Sprite(name, (x, y), (x, y), (size, size), (0.0, 0.0), False)


@pytest.mark.parametrize("pattern", ["gradient", "noise", "stripes", "blobs"])
@pytest.mark.parametrize("size", [160, 64])
def test_backgrounds(pattern: str, size: int) -> None:
    spec = Background(pattern, ((10, 200, 30), (240, 20, 90)), 7)  # type: ignore[arg-type]
    pixels = np.asarray(background(spec, size)).astype(int)
    assert pixels.shape == (size, size, 3)
    assert pixels.reshape(-1, 3).std(axis=0).min() > 5, "an even picture is no pattern"
    # Overshoot of the resampling may leave the two colours, but not by much.
    assert (pixels.min(axis=(0, 1)) >= np.array([0, 0, 10])).all()
    assert (pixels == np.asarray(background(spec, size))).all()


def test_frames_are_deterministic_and_move(art: Art, pools: Pools) -> None:
    scene = scene_at(5, "test", "violation", 0, pools)
    shot = scene.shots[0]
    first, again = (draw(shot, scene.style, shot.start_s, art) for _ in range(2))
    last = draw(shot, scene.style, shot.end_s, art)
    assert first.shape == (WORLD_SIZE, WORLD_SIZE, 3)
    assert first.dtype == np.uint8
    assert (first == again).all()
    assert (first != last).any()


def test_a_given_backdrop_changes_nothing_and_is_not_drawn_upon(art: Art, pools: Pools) -> None:
    scene = scene_at(5, "test", "other", 1, pools)
    shot = scene.shots[0]
    backdrop = background(shot.background)
    before = np.asarray(backdrop).copy()
    assert (draw(shot, scene.style, 0.5, art, backdrop=backdrop) == draw(shot, scene.style, 0.5, art)).all()
    assert (np.asarray(backdrop) == before).all()


@pytest.mark.parametrize("style", ["noto", "twemoji"])
def test_a_sprite_stands_where_its_path_says(art: Art, style: Style) -> None:
    sprite = Sprite("boy", (50.0, 40.0), (90.0, 120.0), (40.0, 60.0), (0.0, 0.0), False)
    shot = Shot(2.0, 4.0, GREY, (sprite,))
    for time_s, (x, y), side in ((2.0, (50, 40), 40), (3.0, (70, 80), 50), (4.0, (90, 120), 60)):
        changed = (draw(shot, style, time_s, art) != np.array([120, 120, 120])).any(axis=2)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        assert (columns[0] + columns[-1]) / 2 == pytest.approx(x, abs=1.5)
        assert (rows[0] + rows[-1]) / 2 == pytest.approx(y, abs=1.5)
        assert rows[-1] - rows[0] + 1 == pytest.approx(side * 56 / 64, abs=4)


def test_labels_are_exact_for_a_still_square(art: Art) -> None:
    # About 52 pixels square, on patches of 20: two or three patches each way.
    shot = Shot(0.0, 1.0, GREY, (still("boy", 60, 70),))
    frame, under = draw_labelled(shot, "twemoji", 0.5, art, size=WORLD_SIZE, grid=GRID)
    assert frame.shape == (WORLD_SIZE, WORLD_SIZE, 3)
    expected = np.full((GRID, GRID), -1)
    changed = (frame != 120).any(axis=2)
    cover = changed.reshape(GRID, 20, GRID, 20).mean(axis=(1, 3))
    expected[cover >= 0.25] = 0
    assert (under == expected).all()
    assert (under == 0).sum() >= 6


def test_the_frame_is_the_one_that_draw_gives(art: Art, pools: Pools) -> None:
    scene = scene_at(5, "test", "look_alike", 3, pools)
    shot = scene.shots[-1]
    frame, _ = draw_labelled(shot, scene.style, shot.start_s + 0.4, art, size=WORLD_SIZE, grid=GRID)
    assert (frame == draw(shot, scene.style, shot.start_s + 0.4, art)).all()


@pytest.mark.parametrize("size", [160, 128])
@pytest.mark.parametrize("index", range(6))
def test_labels_lie_where_the_sprites_are(art: Art, pools: Pools, index: int, size: int) -> None:
    scene = scene_at(9, "train", "violation", index, pools)
    shot = scene.shots[0]
    frame, under = draw_labelled(shot, scene.style, shot.start_s + 0.3, art, size=size, grid=GRID)
    assert set(np.unique(under)) == {-1, *range(len(shot.sprites))}
    side = size // GRID
    backdrop = np.asarray(background(shot.background, size)).astype(int)
    changed = (np.abs(frame.astype(int) - backdrop).sum(axis=2) > 0).reshape(GRID, side, GRID, side).swapaxes(1, 2)
    patches = frame.reshape(GRID, side, GRID, side, 3).swapaxes(1, 2)
    palette = np.array([colour(sprite.name) for sprite in shot.sprites])
    for row in range(GRID):
        for column in range(GRID):
            label, touched = int(under[row, column]), changed[row, column]
            if label < 0:
                assert touched.mean() <= 0.6, "several sprites may touch a patch, none with a quarter of it"
                continue
            assert touched.mean() >= 0.2
            pixels = patches[row, column][touched].astype(int)
            nearest = np.abs(pixels[:, None] - palette[None]).sum(axis=2).argmin(axis=1)
            counts = np.bincount(nearest, minlength=len(palette))
            assert counts[label] >= 0.6 * counts.max()


def test_the_sprite_on_top_has_the_patch(art: Art) -> None:
    shot = Shot(0.0, 1.0, GREY, (still("boy", 80, 80, 70), still("girl", 80, 80, 70)))
    _, under = draw_labelled(shot, "twemoji", 0.0, art, size=WORLD_SIZE, grid=GRID)
    assert set(np.unique(under)) == {-1, 1}
