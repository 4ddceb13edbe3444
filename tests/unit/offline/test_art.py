"""The catalogue: what may be drawn, and which pool it belongs to."""

import json
import shutil
from pathlib import Path

import pytest

from offline.demo_world.art import Art, fetch
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
