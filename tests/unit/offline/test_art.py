"""The catalogue: what may be drawn, and which pool it belongs to."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from offline.demo_world.art import PACKAGES, TRAINING_STYLES, WORLD_STYLES, Art, Style, fetch
from offline.demo_world.taxonomy import AMBIGUOUS, ROLE_OF
from tests.unit.offline.toy_art import NEUTRAL, OTHERS, colour


def test_flags_and_one_sided_emoji_are_left_out(art: Art) -> None:
    assert not {"flag-is", "only_google", "only_twitter"} & set(art.emoji)
    assert set(ROLE_OF) <= set(art.emoji)


def test_the_neutral_pool_is_neutral_and_plays_no_role(art: Art) -> None:
    assert set(art.neutral) == {name for members in NEUTRAL.values() for name in members}
    assert art.emoji["fire"].subcategory in NEUTRAL, "a trigger in a neutral sub-category is what makes this test bite"


def test_other_things_are_everything_without_a_role_that_is_not_ambiguous(art: Art) -> None:
    plain = {name for pool in (NEUTRAL, OTHERS) for members in pool.values() for name in members}
    assert set(art.others) == plain
    assert "gun" in AMBIGUOUS


@pytest.mark.parametrize("name", ["boy", "cloud"])
def test_a_sprite_is_what_the_style_draws(art: Art, name: str) -> None:
    disc, square = art.sprite(name, "noto"), art.sprite(name, "twemoji")
    assert disc.mode == square.mode == "RGBA"
    assert disc.size == square.size == (64, 64)
    assert disc.getpixel((32, 32)) == square.getpixel((32, 32)) == (*colour(name), 255)
    assert disc.getpixel((7, 7)) == (0, 0, 0, 0)
    assert square.getpixel((7, 7)) == (*colour(name), 255)


def test_a_catalogue_without_a_role_is_refused(art_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(art_folder, tmp_path / "art")
    catalogue = tmp_path / "art" / "noto" / "package" / "emoji.json"
    rows = [row for row in json.loads(catalogue.read_text(encoding="utf-8")) if row["short_name"] != "axe"]
    catalogue.write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(RuntimeError, match="axe"):
        Art(tmp_path / "art")


def test_art_that_cannot_be_fetched_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"install Node\.js"):
        fetch("noto", tmp_path / "art")
    assert not (tmp_path / "art" / "noto" / ".complete").exists()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages, and a program `npm` on the path that knows them alone."""
    shelf, programs = tmp_path / "shelf", tmp_path / "bin"
    shelf.mkdir()
    programs.mkdir()
    npm = programs / "npm"
    # npm pack --silent --pack-destination FOLDER PACKAGE
    npm.write_text(
        f'#!/bin/sh\nname=$(echo "$5" | tr "/@" "__").tgz\ncp "{shelf}/$name" "$4/$name" || exit 1\n'
        f'echo "$5" >> "{shelf}/asked"\necho "$name"\n'
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return shelf


def pack(shelf: Path, style: Style, files: dict[str, str]) -> None:
    name = PACKAGES[style].replace("/", "_").replace("@", "_")
    with tarfile.open(shelf / f"{name}.tgz", "w:gz") as archive:
        for path, text in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))


def drawn(colour: str) -> dict[str, str]:
    return {"body": f'<rect width="32" height="32" fill="{colour}"/>'}


def icons(art: Art, **drawings: str) -> dict[str, str]:
    """The files of a package of iconify's that draws some of the toy catalogue's names."""
    return {
        "package/icons.json": json.dumps(
            {"icons": {f"the-{name}": drawn(each) for name, each in drawings.items()}, "height": 32}
        ),
        "package/chars.json": json.dumps({art.emoji[name].unified.lower(): f"the-{name}" for name in drawings}),
        "package/readme.md": "not needed",
    }


def test_a_package_of_icons_is_fetched_once_and_drawn(art: Art, art_folder: Path, shelf: Path, tmp_path: Path) -> None:
    shutil.copytree(art_folder, tmp_path / "art")
    pack(shelf, "fluent_flat", icons(art, boy="#ff0000", fire="#00ff00"))
    pack(shelf, "emojione", icons(art, boy="#0000ff"))
    mixed = Art(tmp_path / "art", ("noto", "fluent_flat", "emojione"))
    assert mixed.styles_of("boy") == ("noto", "fluent_flat", "emojione")
    assert mixed.styles_of("fire") == ("noto", "fluent_flat")
    assert mixed.styles_of("cloud") == ("noto",)
    for style, expected in (("fluent_flat", (255, 0, 0, 255)), ("emojione", (0, 0, 255, 255))):
        sprite = mixed.sprite("boy", style)  # type: ignore[arg-type]
        assert (sprite.mode, sprite.size) == ("RGBA", (96, 96))
        assert sprite.getpixel((48, 48)) == expected
    assert not (tmp_path / "art" / "fluent_flat" / "package" / "readme.md").exists()
    again = Art(tmp_path / "art", ("noto", "fluent_flat", "emojione"))
    assert again.sprite("boy", "emojione").getpixel((1, 1)) == (0, 0, 255, 255)
    asked = (shelf / "asked").read_text().split()
    assert sorted(asked) == sorted([PACKAGES["fluent_flat"], PACKAGES["emojione"]])


def test_a_variation_selector_that_a_package_leaves_out(
    art: Art, art_folder: Path, shelf: Path, tmp_path: Path
) -> None:
    shutil.copytree(art_folder, tmp_path / "art")
    catalogue = tmp_path / "art" / "noto" / "package" / "emoji.json"
    rows = json.loads(catalogue.read_text(encoding="utf-8"))
    for row in rows:
        row["unified"] += "-FE0F" if row["short_name"] in {"boy", "girl"} else ""
    catalogue.write_text(json.dumps(rows), encoding="utf-8")
    pack(shelf, "fluent_flat", icons(art, boy="#ff0000"))
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72">{}</svg>'.format(drawn("#00ff00")["body"])
    pack(shelf, "openmoji", {f"package/color/svg/{art.emoji['girl'].unified}.svg": svg})
    mixed = Art(tmp_path / "art", ("noto", "fluent_flat", "openmoji"))
    assert mixed.emoji["boy"].unified.endswith("-FE0F")
    assert mixed.sprite("boy", "fluent_flat").getpixel((48, 48)) == (255, 0, 0, 255)
    assert mixed.sprite("girl", "openmoji").getpixel((8, 8)) == (0, 255, 0, 255)
    with pytest.raises(FileNotFoundError, match="OpenMoji has no drawing"):
        mixed.sprite("axe", "openmoji")


def test_nothing_is_unpacked_outside_the_folder(shelf: Path, tmp_path: Path) -> None:
    pack(shelf, "openmoji", {"package/color/svg/../../../../escaped.svg": "<svg/>"})
    with pytest.raises(tarfile.FilterError):
        fetch("openmoji", tmp_path / "art" / "deep")
    assert not list(tmp_path.rglob("escaped.svg"))
    assert not (tmp_path / "art" / "deep" / "openmoji" / ".complete").exists()


def test_a_package_that_is_not_there_is_told(shelf: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="emojione@1"):
        fetch("emojione", tmp_path / "art")


def test_openmoji_is_never_trained_on() -> None:
    assert "openmoji" not in TRAINING_STYLES
    assert set(WORLD_STYLES) < set(TRAINING_STYLES)
    assert set(TRAINING_STYLES) | {"openmoji"} == set(PACKAGES)


def test_every_package_is_credited_with_its_version() -> None:
    notice = (Path(__file__).parents[3] / "NOTICE").read_text(encoding="utf-8")
    for package in PACKAGES.values():
        name, _, version = package.rpartition("@")
        assert f"{name} {version}" in notice
