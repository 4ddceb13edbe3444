"""Sentences about what a frame shows, as an operator might write one: parts of it, by name or by kind."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from offline.demo_world.taxonomy import ROLE_OF
from offline.training.vocabulary import spoken

KIND_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "weapon": ("weapon", "weapons", "blade"),
        "adult": ("person", "adult", "grown up"),
        "minor": ("minor", "child", "kid", "young person", "person"),
        "animal": ("animal", "pet"),
        "harmless_target": ("food or wood",),
        "alcohol": ("alcohol", "alcoholic drink", "drink", "drinking"),
        "cigarette": ("cigarette", "smoking", "tobacco"),
        "no_smoking_sign": ("no smoking sign",),
        "gambling": ("gambling", "game of chance", "casino"),
        "money": ("money", "cash"),
        "toy": ("toy",),
        "drug": ("drug", "drugs"),
        "party": ("party", "people dancing", "disco"),
        "medical": ("medical help",),
        "phone": ("phone", "mobile phone"),
        "vehicle": ("vehicle", "driving"),
        "desk": ("desk",),
        "fire": ("fire", "flames", "burning"),
        "building": ("building",),
        "camping": ("camping",),
    }
)
"""Words for anything that plays a role."""
_COMMON_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "dagger_knife": ("dagger", "knife"),
        "hocho": ("kitchen knife", "knife"),
        "crossed_swords": ("swords", "sword"),
        "bow_and_arrow": ("bow", "arrow"),
        "older_man": ("old man", "grandfather"),
        "older_woman": ("old woman", "grandmother"),
        "bearded_person": ("man with a beard",),
        "beer": ("glass of beer",),
        "beers": ("two beers",),
        "wine_glass": ("wine", "glass of wine"),
        "tropical_drink": ("cocktail",),
        "tumbler_glass": ("whisky", "glass of whisky"),
        "smoking": ("lit cigarette", "cigarette smoke"),
        "game_die": ("dice", "die"),
        "black_joker": ("playing card", "joker"),
        "moneybag": ("bag of money",),
        "dollar": ("dollars", "banknote"),
        "euro": ("euros", "banknote"),
        "yen": ("banknote",),
        "pound": ("banknote",),
        "money_with_wings": ("banknotes",),
        "pill": ("pills",),
        "syringe": ("needle",),
        "dancer": ("woman dancing",),
        "dancers": ("dancing people",),
        "mirror_ball": ("disco ball",),
        "tada": ("party popper",),
        "confetti_ball": ("confetti",),
        "iphone": ("smartphone",),
        "calling": ("phone call",),
        "blue_car": ("car",),
        "house_with_garden": ("house", "home"),
        "office": ("office building",),
    }
)
"""What people call things whose short name is another word."""
_SENTENCES = (
    "a picture of {}", "{}", "{}", "a video of {}", "a photo of {}", "this shows {}", "there is {}",
    "somebody shows {}", "someone has {}", "{} in a video", "{} together", "a clip with {}",
)  # fmt: skip
_JOINTS = (
    " and ", " and ", " and ", " with ", " with ", " next to ", " near ", " beside ", " at ", " in ", " on ", " by ",
    " against ", " holding ", " has ", " behind ", " in front of ", " together with ", " or ", " ",
)  # fmt: skip
"""Which of the two has the other is not asked: a frame does not say so."""
_ARTICLES = ("", "", "a ", "an ", "the ", "some ", "two ", "his ", "her ")
_KIND_SHARE, _COMMON_SHARE = 0.4, 0.5


def caption(names: Sequence[str], rng: np.random.Generator) -> str:
    """A sentence about some of the things that a frame shows.

    Things that play a role in an issue are what people write about: others are named where there is none, or beside
    them now and then.

    Args:
        names: short names of everything in the frame, at least one.
        rng: draws what is named, and how.
    """
    parts = [name for name in names if name in ROLE_OF]
    if not parts or rng.random() < 0.2:
        parts = list(names)
    count = min(len(parts), int(rng.choice([1, 2, 3], p=[0.2, 0.6, 0.2])))
    chosen = [parts[int(index)] for index in rng.permutation(len(parts))[:count]]
    return _one_of(_SENTENCES, rng).format(_one_of(_JOINTS, rng).join(_called(name, rng) for name in chosen))


def _called(name: str, rng: np.random.Generator) -> str:
    words: tuple[str, ...] = (spoken(name),)
    if name in ROLE_OF and rng.random() < _KIND_SHARE:
        words = KIND_WORDS[ROLE_OF[name]]
    elif name in _COMMON_NAMES and rng.random() < _COMMON_SHARE:
        words = _COMMON_NAMES[name]
    return _one_of(_ARTICLES, rng) + _one_of(words, rng)


def _one_of(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]
