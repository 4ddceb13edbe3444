"""Emoji sprites from npm packages with free licences (credits in NOTICE), fetched by `npm pack` into a cache folder."""

import functools
import json
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from offline.demo_world.taxonomy import AMBIGUOUS, NEUTRAL_SUBCATEGORIES, ROLE_OF

Style = Literal["noto", "twemoji", "openmoji"]
TRAINING_STYLES: tuple[Style, ...] = ("noto", "twemoji")

_PACKAGES: dict[Style, str] = {
    "noto": "emoji-datasource-google@16.0.0",
    "twemoji": "emoji-datasource-twitter@16.0.0",
    "openmoji": "openmoji@17.0.0",
}
_FOLDERS: dict[Style, str] = {
    "noto": "package/img/google/64/",
    "twemoji": "package/img/twitter/64/",
    "openmoji": "package/color/svg/",
}
_CATALOGUE = "package/emoji.json"
_SKIPPED_CATEGORIES = frozenset({"Flags", "Component"})


@dataclass(frozen=True)
class Emoji:
    """One emoji of the catalogue."""

    name: str
    unified: str
    image: str
    subcategory: str


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
            ["npm", "pack", "--silent", "--pack-destination", str(target), _PACKAGES[style]],  # noqa: S607
            check=True, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise RuntimeError(
            f"could not fetch {_PACKAGES[style]}: the demo world's art comes by npm; install Node.js and try again"
        ) from error
    archive = target / packed.stdout.strip().splitlines()[-1]
    with tarfile.open(archive) as tar:
        wanted = [m for m in tar.getmembers() if m.name == _CATALOGUE or m.name.startswith(_FOLDERS[style])]
        tar.extractall(target, members=wanted, filter="data")
    archive.unlink()
    done.touch()
    return target


class Art:
    """Sprites of the styles asked for, as RGBA images 64 pixels wide, loaded on first use."""

    def __init__(self, folder: Path, styles: tuple[Style, ...] = TRAINING_STYLES) -> None:
        self._folders = {style: fetch(style, folder) for style in styles}
        catalogue = fetch("noto", folder) / _CATALOGUE
        rows: list[dict[str, Any]] = json.loads(catalogue.read_text(encoding="utf-8"))
        self.emoji: dict[str, Emoji] = {
            row["short_name"]: Emoji(row["short_name"], row["unified"], row["image"], row["subcategory"])
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

    def _read(self, name: str, style: Style) -> Image.Image:
        emoji = self.emoji[name]
        folder = self._folders[style] / _FOLDERS[style]
        if style == "openmoji":
            return _render_svg(folder, emoji.unified)
        return Image.open(folder / emoji.image).convert("RGBA")


def _render_svg(folder: Path, unified: str) -> Image.Image:
    """OpenMoji draws variation selectors into some file names and not into others."""
    import io

    import resvg_py

    for stem in (unified, unified.replace("-FE0F", "")):
        path = folder / f"{stem}.svg"
        if path.exists():
            png = resvg_py.svg_to_bytes(svg_path=str(path), width=96, height=96)
            return Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    raise FileNotFoundError(f"OpenMoji has no drawing of {unified}")
