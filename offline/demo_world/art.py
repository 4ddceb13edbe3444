"""Emoji sprites from npm packages with free licences (credits in NOTICE), fetched by `npm pack` into a cache folder."""

import functools
import io
import json
import os
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from offline.demo_world.taxonomy import AMBIGUOUS, NEUTRAL_SUBCATEGORIES, ROLE_OF

Style = Literal[
    "noto", "twemoji", "openmoji", "fluent_flat", "fluent", "emojione", "noto_blob", "fxemoji", "streamline"
]
WORLD_STYLES: tuple[Style, ...] = ("noto", "twemoji")
"""Styles of the splits that are not held out; everything of the catalogue is drawn in both."""
TRAINING_STYLES: tuple[Style, ...] = (
    *WORLD_STYLES, "fluent_flat", "fluent", "emojione", "noto_blob", "fxemoji", "streamline",
)  # fmt: skip
"""Styles that models are trained on; the last four lack some emoji, the very last two a third to a half."""

PACKAGES: dict[Style, str] = {
    "noto": "emoji-datasource-google@16.0.0",
    "twemoji": "emoji-datasource-twitter@16.0.0",
    "openmoji": "openmoji@17.0.0",
    "fluent_flat": "@iconify-json/fluent-emoji-flat@1.2.6",
    "fluent": "@iconify-json/fluent-emoji@1.2.7",
    "emojione": "@iconify-json/emojione@1.2.3",
    "noto_blob": "@iconify-json/noto-v1@1.2.5",
    "fxemoji": "@iconify-json/fxemoji@1.2.2",
    "streamline": "@iconify-json/streamline-emojis@1.2.4",
}
"""npm packages; NOTICE credits each with its version and licence."""
_FOLDERS: dict[Style, str] = {
    "noto": "package/img/google/64/",
    "twemoji": "package/img/twitter/64/",
    "openmoji": "package/color/svg/",
}
_CATALOGUE = "package/emoji.json"
_ICONS, _NAMES = "package/icons.json", "package/chars.json"
_NAMING: Style = "fluent_flat"
"""The package whose list of code points says what an emoji is called in those that iconify makes; the others
go by the emoji's official name."""
_SVG_SIDE = 96
_SKIPPED_CATEGORIES = frozenset({"Flags", "Component"})


@dataclass(frozen=True)
class Emoji:
    """One emoji of the catalogue; `official` is its name in Unicode, where it has one."""

    name: str
    unified: str
    image: str
    subcategory: str
    official: str = ""


def fetch(style: Style, folder: Path) -> Path:
    """Folder with the unpacked package of a style, fetched on first use.

    Raises:
        RuntimeError: npm is missing or the registry cannot be reached; says what to do.
    """
    target = folder / style
    done = target / ".complete"
    if done.exists():
        return target
    target.mkdir(parents=True, exist_ok=True)
    try:
        packed = subprocess.run(
            # Whichever npm the user has is the right one.
            ["npm", "pack", "--silent", "--pack-destination", str(target), PACKAGES[style]],  # noqa: S607
            check=True, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise RuntimeError(
            f"could not fetch {PACKAGES[style]}: the demo world's art comes by npm; install Node.js and try again"
        ) from error
    archive = target / packed.stdout.strip().splitlines()[-1]
    with tarfile.open(archive) as tar:
        files = {_CATALOGUE, _ICONS, _NAMES}
        prefix = _FOLDERS.get(style, _ICONS)
        wanted = [m for m in tar.getmembers() if m.name in files or m.name.startswith(prefix)]
        tar.extractall(target, members=wanted, filter="data")
    archive.unlink()
    done.touch()
    return target


class Art:
    """Sprites of the styles asked for, as RGBA images 64 or 96 pixels wide, loaded on first use."""

    def __init__(self, folder: Path, styles: tuple[Style, ...] = WORLD_STYLES) -> None:
        self._folders = {style: fetch(style, folder) for style in styles}
        icons = [style for style in styles if style not in _FOLDERS]
        self._icons = {style: _Icons(self._folders[style], fetch(_NAMING, folder)) for style in icons}
        catalogue = fetch("noto", folder) / _CATALOGUE
        rows: list[dict[str, Any]] = json.loads(catalogue.read_text(encoding="utf-8"))
        self.emoji: dict[str, Emoji] = {
            row["short_name"]: Emoji(
                row["short_name"], row["unified"], row["image"], row["subcategory"], row.get("name") or ""
            )
            for row in rows
            if row["has_img_google"] and row["has_img_twitter"] and row["category"] not in _SKIPPED_CATEGORIES
        }
        missing = set(ROLE_OF) - set(self.emoji)
        if missing:
            raise RuntimeError(f"the emoji catalogue lacks {sorted(missing)}")
        plain = [e for e in self.emoji.values() if e.name not in ROLE_OF and e.name not in AMBIGUOUS]
        self.neutral = tuple(sorted(e.name for e in plain if e.subcategory in NEUTRAL_SUBCATEGORIES))
        self.others = tuple(sorted(e.name for e in plain))
        self._load = functools.lru_cache(maxsize=None)(self._read)

    def sprite(self, name: str, style: Style) -> Image.Image:
        """RGBA image of an emoji; shared, so copy before changing it."""
        return self._load(name, style)

    def styles_of(self, name: str) -> tuple[Style, ...]:
        """The styles, of those asked for, in which an emoji is drawn."""
        emoji = self.emoji[name]
        return tuple(style for style in self._folders if style not in self._icons or self._icons[style].has(emoji))

    def _read(self, name: str, style: Style) -> Image.Image:
        emoji = self.emoji[name]
        if style in self._icons:
            return self._icons[style].draw(emoji)
        folder = self._folders[style] / _FOLDERS[style]
        if style == "openmoji":
            return _render_svg(folder, emoji.unified)
        return Image.open(folder / emoji.image).convert("RGBA")


class _Icons:
    """A package of iconify's: drawings by name; each is rendered once and kept as a PNG file."""

    def __init__(self, folder: Path, naming: Path) -> None:
        document = json.loads((folder / _ICONS).read_text(encoding="utf-8"))
        self._drawings: dict[str, dict[str, Any]] = document["icons"]
        self._side: int = document.get("height", 16)
        self._names: dict[str, str] = json.loads((naming / _NAMES).read_text(encoding="utf-8"))
        # A digit at the end numbers drawings of one thing.
        self._plain = {_letters(re.sub(r"-\d$", "", name)): name for name in reversed(self._drawings)}
        self._rendered = folder / "rendered"
        self._rendered.mkdir(exist_ok=True)

    def has(self, emoji: Emoji) -> bool:
        """Whether there is a drawing of it."""
        return self._name(emoji) in self._drawings

    def draw(self, emoji: Emoji) -> Image.Image:
        """RGBA image, 96 pixels square."""
        path = self._rendered / f"{emoji.unified}.png"
        if not path.exists():
            icon = self._drawings[self._name(emoji)]
            width, height = icon.get("width", self._side), icon.get("height", self._side)
            box = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
            image = _rasterised(f"<svg {box}>{icon['body']}</svg>")
            # Of several processes that draw it, the last one wins.
            temporary = path.with_suffix(f".{os.getpid()}")
            image.save(temporary, "PNG")
            temporary.replace(path)
        return Image.open(path).convert("RGBA")

    def _name(self, emoji: Emoji) -> str:
        code = emoji.unified.lower()
        name = self._names.get(code) or self._names.get(code.replace("-fe0f", "")) or ""
        if name in self._drawings:
            return name
        called = [_letters(emoji.official), _letters(emoji.official.replace("FACE", "")), _letters(emoji.name)]
        return next((self._plain[each] for each in called if each and each in self._plain), "")


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _rasterised(svg: str) -> Image.Image:
    import resvg_py

    png = resvg_py.svg_to_bytes(svg_string=svg, width=_SVG_SIDE, height=_SVG_SIDE)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


def _render_svg(folder: Path, unified: str) -> Image.Image:
    """OpenMoji draws variation selectors into some file names and not into others."""
    for stem in (unified, unified.replace("-FE0F", "")):
        path = folder / f"{stem}.svg"
        if path.exists():
            return _rasterised(path.read_text(encoding="utf-8"))
    raise FileNotFoundError(f"OpenMoji has no drawing of {unified}")
