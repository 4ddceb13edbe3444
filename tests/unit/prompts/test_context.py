"""No text of an uploader survives as markup, closes its frame, or outgrows its budget."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts import Context
from services.prompts import context_block, neutralise, strip_special

PIECES = (
    "<image>",
    "<",
    ">",
    "image",
    "<|im_start|>",
    "|",
    "[INST]",
    "USER:",
    "assistant",
    ":",
    "\uff1a",
    "\u200b",
    "\u202e",
    "\uff1c",
    "\ufe64",
    "\u0338",
    "\n",
    "\x00",
    "`",
    "\u1fef",
    "{",
    "\u2581",
    '"',
    "\uff02",
    "###",
    "#",
    "\u2028",
    " ",
    "a",
)
HOSTILE = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
MARKUP = re.compile(r"<[^>]*>|<\||\|>|\[/?INST\]|[<>\[\]{}|`\\\u2581]")
ROLE = re.compile(r"\b(user|assistant|system|human)\s*:", re.IGNORECASE)


@given(HOSTILE)
def test_nothing_that_reads_as_markup_survives(text: str) -> None:
    clean = neutralise(text)
    # A tokenizer may normalise again, in any of the forms.
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        seen = unicodedata.normalize(form, clean)
        assert not MARKUP.search(seen)
        assert not ROLE.search(seen)
        assert '"' not in seen
    assert not [c for c in clean if unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp"}]
    assert clean == clean.strip()


@given(HOSTILE)
def test_neutralising_twice_changes_nothing(text: str) -> None:
    assert neutralise(neutralise(text)) == neutralise(text)


@given(title=HOSTILE, description=HOSTILE, tags=st.lists(HOSTILE.map(lambda t: t[:100]), max_size=4))
def test_the_frame_holds(title: str, description: str, tags: list[str]) -> None:
    empty_frame = context_block(Context(title="a"), max_chars=40).replace('"a"', '""').encode()
    block = context_block(Context(title=title, description=description, tags=tuple(tags)), max_chars=40)
    if not block:
        assert not any(map(neutralise, (title, description, *tags)))
        return
    lines = block.split("\n")
    assert lines[0].startswith("The uploader wrote")
    assert lines[-1] == "End of the uploader's text."
    assert all(re.fullmatch(r'(Title|Description|Tags): "[^"]+"', line) for line in lines[1:-1])
    assert len(block.encode()) <= len(empty_frame) + 40 + len('\nDescription: ""\nTags: ""')


def test_ordinary_text_stays_readable() -> None:
    context = Context(title="Café №1: cooking 🍳", description="Line one\nline two", tags=("food", "fun"))
    assert context_block(context).split("\n")[1:-1] == [
        'Title: "Café No1: cooking 🍳"',
        'Description: "Line one line two"',
        'Tags: "food, fun"',
    ]


def test_metadata_language_and_uploader_are_never_shown() -> None:
    context = Context(title="t", uploader_id="secret-uploader", language="de", metadata={"k": "secret-value"})
    block = context_block(context)
    assert "secret" not in block
    assert "de" not in block.split("\n")[1]


def test_empty_context_is_empty() -> None:
    assert context_block(Context()) == ""
    assert context_block(Context(title=" \u200b\n<>", tags=("|",))) == ""


def test_a_flood_in_one_field_leaves_room_for_the_others() -> None:
    block = context_block(Context(title="t" * 1000, description="d" * 5000, tags=("g" * 100,) * 9), max_chars=100)
    assert block.count("t" * 50) == 1
    assert "g" * 25 in block
    assert "d" * 25 in block


@pytest.mark.parametrize("text", ["<image>", "<im<image>age>", "a</s></s>b", "<</s>image>"])
def test_strip_special_leaves_no_token(text: str) -> None:
    tokens = ["<image>", "</s>", " "]
    assert not any(token in strip_special(text, tokens) for token in tokens[:2])
