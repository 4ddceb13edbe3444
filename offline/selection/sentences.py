"""Sentences that stand for an issue where nobody has a video of it yet: text seeds of the demo world."""

from collections.abc import Mapping
from types import MappingProxyType

SENTENCES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "weapon_threat": (
            "a person with a knife",
            "a man and a sword or an axe",
            "a woman next to a bomb",
            "a child with a bow and arrow",
        ),
        "underage_drinking": (
            "a child with a glass of beer",
            "a girl and a cocktail",
            "a boy next to a bottle of champagne",
            "a baby and a glass of wine",
        ),
        "smoking_promotion": (
            "a man with a cigarette",
            "a woman smoking",
            "a child next to a lit cigarette",
            "an old person and cigarette smoke",
        ),
        "gambling_for_money": (
            "a slot machine and money",
            "dice next to dollars",
            "a playing card with a bag of money",
            "gambling for cash",
        ),
        "drug_abuse": (
            "a pill and a disco ball",
            "a syringe next to people dancing",
            "drugs at a party",
            "pills and confetti",
        ),
        "animal_cruelty": (
            "a knife and a dog",
            "an axe next to a cow or a pig",
            "a bow and arrow with a rabbit",
            "a weapon and an animal",
        ),
        "distracted_driving": (
            "a phone and a car",
            "a phone call in a taxi",
            "a smartphone next to a bus",
            "a mobile phone and a truck",
        ),
        "arson": (
            "a house on fire",
            "a fire next to a school",
            "an office building and flames",
            "a hotel with fire",
        ),
    }
)
"""Four of each issue, written before anything was measured with them."""
