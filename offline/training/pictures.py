"""Labelled pictures for training the tower: any style for any sprite, recoloured, outlined, on any background.

Far more varied than the demo world, so that what is learnt is what a thing looks like, and not how one artist draws it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from offline.demo_world.art import TRAINING_STYLES, Art, Style
from offline.demo_world.render import background as world_background
from offline.demo_world.scene import WORLD_SIZE, Kind, Pools, Sprite, collage, compose
from offline.demo_world.taxonomy import ROLE_OF

_KINDS: tuple[Kind, ...] = ("violation", "look_alike", "other")
_SIZES = (24.0, 84.0)
"""Pixels of WORLD_SIZE; wider than the demo world's."""
_PLAIN = 0.5
"""Share of the pictures that are drawn as the demo world draws, but for the artist."""
_LEAST_COVER = 0.25
"""Share of a patch that a sprite must cover for the patch to be its."""


@dataclass(frozen=True)
class Picture:
    """A picture and what is where.

    Attributes:
        pixels: uint8 [WORLD_SIZE, WORLD_SIZE, 3].
        names: of its sprites.
        under: int [grid, grid], index in `names` of what covers most of each patch, -1 for the background.
    """

    pixels: np.ndarray
    names: tuple[str, ...]
    under: np.ndarray


class Painter:
    """Draws random pictures.

    Args:
        art: with some of TRAINING_STYLES.
        grid: patches on a side.
        plain: share of the random pictures in which sprites keep their colours and proportions, on a background of
            the world.
    """

    def __init__(self, art: Art, grid: int, *, plain: float = _PLAIN) -> None:
        self._art, self._grid, self._plain = art, grid, plain
        self._pools = Pools(art.neutral, art.others)
        self._roles = tuple(ROLE_OF)
        self._styles = {name: art.styles_of(name) for name in art.emoji}
        known = {style for styles in self._styles.values() for style in styles}
        self._artists = tuple(style for style in TRAINING_STYLES if style in known)

    def picture(self, rng: np.random.Generator) -> Picture:
        """Six in ten are crowds of any emoji, the others moments of the demo world's scenes."""
        plain = rng.random() < self._plain
        if rng.random() < 0.6:
            names = []
            for _ in range(int(rng.integers(2, 8))):
                pool = self._roles if rng.random() < 0.7 else self._art.others
                names.append(pool[int(rng.integers(len(pool)))])
            return self.draw(rng, collage(rng, names, size=_SIZES).sprites, 0.0, plain=plain)
        kind = _KINDS[int(rng.integers(len(_KINDS)))]
        scene = compose(rng, self._pools, video_id="", kind=kind, styles=TRAINING_STYLES[:1])
        shot = scene.shots[int(rng.integers(len(scene.shots)))]
        return self.draw(rng, shot.sprites, float(rng.random()), plain=plain)

    def draw(
        self, rng: np.random.Generator, sprites: Sequence[Sprite], progress: float, *, style: Style | None = None,
        stretch: np.ndarray | None = None, plain: bool = False,
    ) -> Picture:  # fmt: skip
        """These sprites at `progress` in [0, 1] of their paths; `plain` as the class says.

        The artist of all that he can draw, and the shares [2] of width and height, are drawn too if not given.
        """
        frame = world_backdrop(rng) if plain else backdrop(rng)
        # One artist draws most videos; mixed ones teach that it does not matter.
        shared = style
        if shared is None and rng.random() < 0.5:
            shared = self._artists[int(rng.integers(len(self._artists)))]
        # A wide or tall video is squashed into a square.
        if stretch is None:
            stretch = np.ones(2)
            if not plain and rng.random() < 0.35:
                stretch[int(rng.integers(2))] = rng.uniform(0.55, 1.0)
        cover = np.zeros((len(sprites), self._grid, self._grid), dtype=np.float32)
        for index, sprite in enumerate(sprites):
            styles = self._styles[sprite.name]
            own_style = shared if shared in styles else styles[int(rng.integers(len(styles)))]
            image = self._art.sprite(sprite.name, own_style)
            if not plain and rng.random() < 0.6:
                image = disguise(image, rng)
            image = _placed(image, sprite, progress, stretch, rng)
            left, top = (
                round(a + (b - a) * progress - side / 2)
                for a, b, side in zip(sprite.start, sprite.end, image.size, strict=True)
            )
            frame.paste(image, (left, top), image)
            alpha = Image.new("L", frame.size)
            alpha.paste(image.getchannel("A"), (left, top))
            own = np.asarray(alpha.resize((self._grid, self._grid), Image.Resampling.BOX), dtype=np.float32) / 255
            cover[:index] *= 1 - own
            cover[index] = own
        under = np.where(cover.max(axis=0) >= _LEAST_COVER, cover.argmax(axis=0), -1)
        return Picture(np.asarray(frame), tuple(sprite.name for sprite in sprites), under)


def _placed(
    image: Image.Image, sprite: Sprite, progress: float, stretch: np.ndarray, rng: np.random.Generator
) -> Image.Image:
    side = sprite.size[0] + (sprite.size[1] - sprite.size[0]) * progress
    width, height = (max(2, round(side * float(share))) for share in stretch)
    if sprite.mirrored:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    angle = sprite.angle[0] + (sprite.angle[1] - sprite.angle[0]) * progress + float(rng.normal(0, 6))
    turned = image.rotate(angle, Image.Resampling.BILINEAR)
    return turned.resize((width, height), Image.Resampling.BILINEAR)


def disguise(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A sprite in other colours and another stroke. RGBA in and out; shape and place stay."""
    alpha, colours = image.getchannel("A"), image.convert("RGB")
    drawn_in_lines = rng.random() < 0.2  # flat colours, ink along edges and around
    if rng.random() < 0.5:
        shift = int(rng.integers(256)) if rng.random() < 0.15 else int(rng.normal(0, 10))
        hue, saturation, value = colours.convert("HSV").split()
        hue = hue.point([(level + shift) % 256 for level in range(256)])
        colours = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    if rng.random() < 0.5:
        colours = ImageEnhance.Color(colours).enhance(float(rng.uniform(0.0, 1.7)))
    if rng.random() < 0.3:
        colours = ImageEnhance.Contrast(colours).enhance(float(rng.uniform(0.5, 1.6)))
    if rng.random() < 0.2:
        colours = ImageOps.posterize(colours, int(rng.integers(1, 4)))
    if drawn_in_lines or rng.random() < 0.08:
        # Flat patches of colour.
        colours = colours.filter(ImageFilter.ModeFilter(5))
    if drawn_in_lines or rng.random() < 0.2:
        # Strokes along the edges inside, as in line art.
        edges = colours.convert("L").filter(ImageFilter.FIND_EDGES)
        strength = float(rng.uniform(1.5, 4.0))
        edges = edges.point([min(255, round(level * strength)) for level in range(256)])
        ink = Image.new("RGB", colours.size, _ink(rng))
        colours = Image.composite(ink, colours, edges)
    if rng.random() < 0.06:
        colours = Image.blend(colours, Image.new("RGB", colours.size, (255, 255, 255)), float(rng.uniform(0.5, 0.9)))
    out = colours.convert("RGBA")
    out.putalpha(alpha)
    if drawn_in_lines or rng.random() < 0.2:
        out = _outlined(out, rng)
    return out


def _ink(rng: np.random.Generator) -> tuple[int, int, int]:
    level = 255 if rng.random() < 0.15 else int(rng.integers(0, 50))
    return level, level, level


def _outlined(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """With a stroke around it, and room for the stroke."""
    width = int(rng.integers(1, 4))
    room = ImageOps.expand(image, border=width, fill=(0, 0, 0, 0))
    alpha = room.getchannel("A")
    wider = alpha.filter(ImageFilter.MaxFilter(2 * width + 1))
    under = Image.new("RGBA", room.size, (*_ink(rng), 255))
    under.putalpha(wider)
    return Image.alpha_composite(under, room)


def world_backdrop(rng: np.random.Generator, size: int = WORLD_SIZE) -> Image.Image:
    """A background of the demo world."""
    return world_background(collage(rng, []).background, size)


def backdrop(rng: np.random.Generator, size: int = WORLD_SIZE) -> Image.Image:
    """Any background: the demo world's in four of ten, else plain, cloudy, ruled, checked or full of shapes."""
    sort = rng.random()
    if sort < 0.4:
        return world_backdrop(rng, size)
    first, second = (tuple(int(level) for level in rng.integers(0, 256, size=3)) for _ in range(2))
    if sort < 0.55:
        return Image.new("RGB", (size, size), (first[0], first[1], first[2]))
    if sort < 0.72:
        return _clouds(rng, size)
    image = Image.new("RGB", (size, size), (first[0], first[1], first[2]))
    pen = ImageDraw.Draw(image)
    step = int(rng.integers(6, 40))
    if sort < 0.82:
        for x in range(0, size, step):
            for y in range(0, size, step):
                if (x // step + y // step) % 2:
                    pen.rectangle((x, y, x + step - 1, y + step - 1), fill=second)
    elif sort < 0.9:
        for at in range(0, size, step):
            pen.line((at, 0, at, size), fill=second, width=max(1, step // 6))
            pen.line((0, at, size, at), fill=second, width=max(1, step // 6))
    else:
        for _ in range(int(rng.integers(4, 20))):
            x, y, side = (int(each) for each in rng.integers(0, size, size=3))
            colour = tuple(int(level) for level in rng.integers(0, 256, size=3))
            draw = pen.ellipse if rng.random() < 0.5 else pen.rectangle
            draw((x, y, x + side // 2, y + side // 2), fill=colour)
        if rng.random() < 0.5:
            image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(1, 4))))
    return image


def _clouds(rng: np.random.Generator, size: int) -> Image.Image:
    """Noise of several scales in each colour, as of a blurred photograph."""
    total = np.zeros((size, size, 3), dtype=np.float32)
    for cells in (2, 4, 8, 16, 32):
        coarse = Image.fromarray((rng.random((cells, cells, 3)) * 255).astype(np.uint8))
        total += np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32) / cells**0.8
    total -= total.min()
    return Image.fromarray((total / max(float(total.max()), 1e-6) * 255).astype(np.uint8))
