"""Writes a small art folder of coloured shapes in the layout of the npm packages, so that no test needs npm."""

import colorsys
import json
import zlib
from pathlib import Path

from PIL import Image, ImageDraw

from offline.demo_world.taxonomy import ROLE_OF

NEUTRAL = {
    "sky & weather": ("cloud", "rainbow", "snowflake", "umbrella"),
    "time": ("watch", "hourglass", "alarm_clock", "clock3"),
    "musical-instrument": ("guitar", "trumpet", "violin", "drum"),
    "plant-flower": ("tulip", "rose", "blossom", "sunflower"),
}
OTHERS = {
    "animal-bug": ("bug", "ant", "butterfly", "snail"),
    "food-fruit": ("grapes", "melon", "lemon", "banana"),
    # Real sub-categories that share their names with things that play a role.
    "hotel": ("bellhop_bell", "luggage"),
    "office": ("briefcase", "clipboard"),
    "computer": ("minidisc", "abacus"),
}
SUBCATEGORY_OF_ROLE = {"fire": "sky & weather", "hotel": "place-building", "office": "place-building"}
DISC, SQUARE = (3, 3, 60, 60), (5, 5, 58, 58)


def colour(name: str) -> tuple[int, int, int]:
    """The colour in which a name is drawn, bright and the same in every run."""
    red, green, blue = colorsys.hsv_to_rgb(zlib.crc32(name.encode()) % 997 / 997, 1.0, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def write_art(folder: Path) -> Path:
    """The folder, with the styles `noto` (discs) and `twemoji` (squares) as if they had been fetched."""
    names = [(name, SUBCATEGORY_OF_ROLE.get(name, "role")) for name in ROLE_OF]
    names += [(name, group) for pool in (NEUTRAL, OTHERS) for group, members in pool.items() for name in members]
    rows = [_row(name, group) for name, group in names]
    rows += [
        _row("gun", "tool"),  # ambiguous
        _row("flag-is", "country-flag", category="Flags"),
        _row("only_google", "animal-bug", has_img_twitter=False),
        _row("only_twitter", "animal-bug", has_img_google=False),
    ]
    for style, source in (("noto", "google"), ("twemoji", "twitter")):
        images = folder / style / "package" / "img" / source / "64"
        images.mkdir(parents=True)
        for row in rows:
            _picture(str(row["short_name"]), style).save(images / str(row["image"]))
        (folder / style / "package" / "emoji.json").write_text(json.dumps(rows), encoding="utf-8")
        (folder / style / ".complete").touch()
    return folder


def write_training_art(folder: Path) -> Path:
    """The folder with the icon packages too: triangles of the same colours."""
    rows = json.loads((write_art(folder) / "noto" / "package" / "emoji.json").read_text(encoding="utf-8"))
    icons = {
        row["short_name"]: {
            "body": '<path d="M16 2 30 30H2z" fill="rgb({},{},{})"/>'.format(*colour(row["short_name"]))
        }
        for row in rows
    }
    names = {row["unified"].lower(): row["short_name"] for row in rows}
    for style in ("fluent_flat", "fluent", "emojione", "noto_blob", "fxemoji", "streamline"):
        package = folder / style / "package"
        package.mkdir(parents=True)
        (package / "icons.json").write_text(json.dumps({"icons": icons, "height": 32}), encoding="utf-8")
        (package / "chars.json").write_text(json.dumps(names), encoding="utf-8")
        (folder / style / ".complete").touch()
    return folder


def _row(name: str, subcategory: str, **changes: object) -> dict[str, object]:
    unified = f"{zlib.crc32(name.encode()):08X}"
    row: dict[str, object] = {
        "short_name": name,
        "unified": unified,
        "image": f"{unified.lower()}.png",
        "category": "Objects",
        "subcategory": subcategory,
        "has_img_google": True,
        "has_img_twitter": True,
    }
    return row | changes


def _picture(name: str, style: str) -> Image.Image:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    pen = ImageDraw.Draw(image)
    if style == "noto":
        pen.ellipse(DISC, fill=(*colour(name), 255))
    else:
        pen.rectangle(SQUARE, fill=(*colour(name), 255))
    return image
