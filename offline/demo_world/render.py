"""Draws scenes: frames as RGB arrays, and which sprite lies under each patch of a grid."""

import numpy as np
from PIL import Image

from offline.demo_world.art import Art, Style
from offline.demo_world.scene import WORLD_SIZE, Background, Shot, Sprite


def background(spec: Background, size: int = WORLD_SIZE) -> Image.Image:
    """RGB image, `size` pixels square."""
    rng = np.random.default_rng(spec.seed)
    first, second = (np.array(colour, dtype=np.float32) for colour in spec.colours)
    axis = np.linspace(0.0, 1.0, size, dtype=np.float32)
    if spec.pattern == "gradient":
        turn = rng.uniform(0, 2 * np.pi)
        mix = axis[None, :] * np.cos(turn) + axis[:, None] * np.sin(turn)
        mix = (mix - mix.min()) / max(float(np.ptp(mix)), 1e-6)
    elif spec.pattern == "stripes":
        turn, waves = rng.uniform(0, np.pi), rng.uniform(2, 7)
        mix = 0.5 + 0.5 * np.sin(2 * np.pi * waves * (axis[None, :] * np.cos(turn) + axis[:, None] * np.sin(turn)))
    else:
        cells = 5 if spec.pattern == "blobs" else 40
        coarse = Image.fromarray((rng.random((cells, cells)) * 255).astype(np.uint8))
        mix = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32) / 255
    pixels = first + (second - first) * np.asarray(mix, dtype=np.float32)[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def canvas(spec: Background, width: int, height: int) -> Image.Image:
    """RGB image of any size: the middle of a square background."""
    side = max(width, height)
    left, top = (side - width) // 2, (side - height) // 2
    return background(spec, side).crop((left, top, left + width, top + height))


def _drawn(
    sprite: Sprite, style: Style, progress: float, art: Art, frame: tuple[int, int]
) -> tuple[Image.Image, int, int]:
    """The turned and sized sprite at `progress` in [0, 1] of its shot, and where its top left corner goes in a frame
    of that width and height. Places stretch with the frame, drawings do not."""
    scale = min(frame) / WORLD_SIZE
    side = max(2, round((sprite.size[0] + (sprite.size[1] - sprite.size[0]) * progress) * scale))
    image = art.sprite(sprite.name, style).resize((side, side), Image.Resampling.BILINEAR)
    if sprite.mirrored:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    angle = sprite.angle[0] + (sprite.angle[1] - sprite.angle[0]) * progress
    image = image.rotate(angle, Image.Resampling.BILINEAR, expand=True)
    x = (sprite.start[0] + (sprite.end[0] - sprite.start[0]) * progress) * (frame[0] / WORLD_SIZE)
    y = (sprite.start[1] + (sprite.end[1] - sprite.start[1]) * progress) * (frame[1] / WORLD_SIZE)
    return image, round(x - image.width / 2), round(y - image.height / 2)


def draw(
    shot: Shot, style: Style, time_s: float, art: Art, *, size: int = WORLD_SIZE, backdrop: Image.Image | None = None
) -> np.ndarray:
    """One frame of a shot, uint8 [height, width, 3], RGB, of the backdrop's size or of `size` pixels square.
    `backdrop` saves drawing the same background again."""
    frame = backdrop.copy() if backdrop else background(shot.background, size)
    progress = _progress(shot, time_s)
    for sprite in shot.sprites:
        image, left, top = _drawn(sprite, style, progress, art, frame.size)
        frame.paste(image, (left, top), image)
    return np.asarray(frame)


def draw_labelled(
    shot: Shot, style: Style, time_s: float, art: Art, *, size: int, grid: int
) -> tuple[np.ndarray, np.ndarray]:
    """A frame and, for every patch of a grid x grid raster, the index in `shot.sprites` of the sprite that covers most
    of it, or -1 where less than a quarter of the patch is covered. Shapes [size, size, 3] and [grid, grid]."""
    frame = background(shot.background, size)
    progress = _progress(shot, time_s)
    cover = np.zeros((len(shot.sprites), grid, grid), dtype=np.float32)
    for index, sprite in enumerate(shot.sprites):
        image, left, top = _drawn(sprite, style, progress, art, (size, size))
        frame.paste(image, (left, top), image)
        alpha = Image.new("L", (size, size))
        alpha.paste(image.getchannel("A"), (left, top))
        own = np.asarray(alpha.resize((grid, grid), Image.Resampling.BOX), dtype=np.float32) / 255
        cover[:index] *= 1 - own
        cover[index] = own
    best = cover.argmax(axis=0)
    return np.asarray(frame), np.where(cover.max(axis=0) >= 0.25, best, -1)


def _progress(shot: Shot, time_s: float) -> float:
    length = max(shot.end_s - shot.start_s, 1e-6)
    return min(max((time_s - shot.start_s) / length, 0.0), 1.0)
