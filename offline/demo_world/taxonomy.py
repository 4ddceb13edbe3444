"""What exists in the demo world: roles, issues, look-alikes, and the pools that distractors come from."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

LookAlike = Literal["a_with_c", "a_alone", "b_alone", "split_shots"]
LOOK_ALIKES: tuple[LookAlike, ...] = ("a_with_c", "a_alone", "b_alone", "split_shots")

# Short names of emoji (`short_name` of the data-source packages) under the role they play.
ROLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "weapon": ("dagger_knife", "hocho", "crossed_swords", "bow_and_arrow", "axe", "bomb"),
        "adult": ("man", "woman", "older_man", "older_woman", "bearded_person"),
        "minor": ("boy", "girl", "child", "baby"),
        "animal": ("dog", "cat", "rabbit", "hamster", "mouse", "cow", "pig", "horse", "chicken"),
        "harmless_target": ("carrot", "broccoli", "cucumber", "bell_pepper", "bread", "wood", "dart"),
        "alcohol": (
            "beer", "beers", "wine_glass", "cocktail", "tropical_drink", "tumbler_glass", "sake", "champagne",
        ),
        "cigarette": ("smoking",),
        "no_smoking_sign": ("no_smoking",),
        "gambling": ("slot_machine", "game_die", "black_joker"),
        "money": ("moneybag", "dollar", "yen", "euro", "pound", "money_with_wings"),
        "toy": ("chess_pawn", "jigsaw", "teddy_bear"),
        "drug": ("pill", "syringe"),
        "party": ("dancer", "man_dancing", "dancers", "mirror_ball", "tada", "confetti_ball"),
        "medical": ("male-doctor", "female-doctor", "hospital", "stethoscope", "adhesive_bandage"),
        "phone": ("iphone", "calling"),
        "vehicle": ("car", "blue_car", "taxi", "bus", "truck"),
        "desk": ("computer", "books", "coffee"),
        "fire": ("fire",),
        "building": ("house", "house_with_garden", "office", "school", "hotel"),
        "camping": ("tent", "meat_on_bone", "tea"),
    }
)  # fmt: skip


@dataclass(frozen=True)
class DemoIssue:
    """An issue: something of `a` and something of `b` in one shot. `c` is the benign partner of `a`."""

    id: str
    name: str
    a: tuple[str, ...]
    b: tuple[str, ...]
    c: tuple[str, ...]

    def members(self, roles: tuple[str, ...]) -> tuple[str, ...]:
        """Short names of everything in the given roles."""
        return tuple(name for role in roles for name in ROLES[role])


ISSUES: tuple[DemoIssue, ...] = (
    DemoIssue("weapon_threat", "weapon threat", ("weapon",), ("adult", "minor"), ("harmless_target",)),
    DemoIssue("underage_drinking", "underage drinking", ("alcohol",), ("minor",), ("adult",)),
    DemoIssue("smoking_promotion", "smoking promotion", ("cigarette",), ("adult", "minor"), ("no_smoking_sign",)),
    DemoIssue("gambling_for_money", "gambling for money", ("gambling",), ("money",), ("toy",)),
    DemoIssue("drug_abuse", "drug abuse", ("drug",), ("party",), ("medical",)),
    DemoIssue("animal_cruelty", "animal cruelty", ("weapon",), ("animal",), ("harmless_target",)),
    DemoIssue("distracted_driving", "distracted driving", ("phone",), ("vehicle",), ("desk",)),
    DemoIssue("arson", "arson", ("fire",), ("building",), ("camping",)),
)
ISSUES_BY_ID: Mapping[str, DemoIssue] = MappingProxyType({issue.id: issue for issue in ISSUES})

ROLE_OF: Mapping[str, str] = MappingProxyType({name: role for role, names in ROLES.items() for name in names})

# `wood` is also a benign partner of fire; `coffee` could pass for a camping cup, so camping has tea.
EXTRA_BENIGN: Mapping[str, tuple[str, ...]] = MappingProxyType({"arson": ("wood",)})

TRIGGER_ROLES = frozenset(role for issue in ISSUES for role in issue.a)

# Sub-categories of the emoji data that cannot be taken for anything of B (demo world, distractor rule).
NEUTRAL_SUBCATEGORIES = frozenset(
    {
        "other-symbol", "alphanum", "av-symbol", "arrow", "geometric", "math", "punctuation", "zodiac", "religion",
        "sky & weather", "plant-other", "plant-flower", "time", "music", "musical-instrument", "heart", "keycap",
    }
)  # fmt: skip
# Lookalikes of a trigger, or things drawn with one: ambiguous for any viewer, so in no pool.
AMBIGUOUS = frozenset(
    {
        "gun", "clinking_glasses", "heart_on_fire", "no_mobile_phones", "vibration_mode", "mobile_phone_off", "selfie",
        "firecracker", "sparkler", "knife_fork_plate", "fork_and_knife", "fencer", "pick", "hammer_and_pick",
        "cupid", "phone", "volcano", "camping", "boom", "underage", "money_mouth_face", "baby_bottle", "mate_drink",
        "beverage_box", "cup_with_straw", "bubble_tea",
    }
)  # fmt: skip


def violated(shots: "tuple[frozenset[str], ...]") -> tuple[str, ...]:
    """Issue ids that the given shots violate. A shot is the set of short names that are in it."""
    found = []
    for issue in ISSUES:
        a, b = set(issue.members(issue.a)), set(issue.members(issue.b))
        if any(shot & a and shot & b for shot in shots):
            found.append(issue.id)
    return tuple(found)
