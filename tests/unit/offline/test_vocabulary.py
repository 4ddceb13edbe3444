"""Patch classes, and the small tokenizer of both models."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.demo_world.art import Art
from offline.demo_world.taxonomy import ROLE_OF, TRIGGER_ROLES
from offline.training.ranker_model import CHAT_TEMPLATE, processor, tokenizer
from offline.training.vocabulary import BOS, EOS, IMAGE, PAD, TAGS, Classes, clip_tokenizer, spoken, train_tokenizer
from services.contracts import Context
from services.policy import default_policy_path, load_policy
from services.prompts import context_block, plan


@pytest.fixture(scope="module")
def classes(art: Art) -> Classes:
    return Classes.of_art(art)


@pytest.fixture(scope="module")
def tokens(art: Art):  # type: ignore[no-untyped-def]
    return tokenizer(art, load_policy(default_policy_path()))


def test_everything_that_plays_a_role_is_a_class_of_its_own(classes: Classes) -> None:
    own = [classes.of[name] for name in ROLE_OF]
    assert len(set(own)) == len(ROLE_OF)
    assert [classes.names[index] for index in own] == list(ROLE_OF)


def test_other_things_are_classed_by_sub_category(art: Art, classes: Classes) -> None:
    assert classes.of["cloud"] == classes.of["rainbow"] != classes.of["bug"]
    assert "gun" not in classes.of
    assert classes.background == len(classes.names) > max(classes.of.values())
    assert set(classes.of) == set(ROLE_OF) | set(art.others)


def test_a_sub_category_that_is_named_like_a_thing_is_another_class(classes: Classes) -> None:
    for thing, other in (("hotel", "luggage"), ("office", "briefcase"), ("computer", "abacus")):
        assert classes.of[thing] != classes.of[other]
        assert classes.names[classes.of[other]] not in ROLE_OF
    assert len(set(classes.names)) == len(classes.names)


def test_tags_are_roles(classes: Classes) -> None:
    assert {name: TAGS[tag] for name, tag in classes.tag_of.items()} == dict(ROLE_OF)


def test_names_are_spoken_as_distinct_words() -> None:
    assert spoken("male-doctor") == "male doctor"
    assert spoken("house_with_garden") == "house with garden"
    assert len({spoken(name) for name in ROLE_OF}) == len(ROLE_OF)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_comes_back(text: str) -> None:
    made = _SMALL
    ids = made.encode(text, add_special_tokens=False)
    for special in (PAD, BOS, EOS, IMAGE):
        if special in text:
            return
    assert made.decode(ids, clean_up_tokenization_spaces=False) == text


_SMALL = train_tokenizer(["a picture of a cat and a dog, nothing else."] * 3, vocab_size=300)


def test_a_text_begins_with_its_mark() -> None:
    assert _SMALL.convert_ids_to_tokens(_SMALL.encode("cat"))[0] == BOS
    assert _SMALL.convert_ids_to_tokens(_SMALL.encode("cat", add_special_tokens=False))[0] != BOS


def test_marks_are_single_tokens(tokens) -> None:  # type: ignore[no-untyped-def]
    for mark in (PAD, BOS, EOS, IMAGE):
        assert len(tokens.encode(mark, add_special_tokens=False)) == 1
    assert len({tokens.convert_tokens_to_ids(mark) for mark in (PAD, BOS, EOS, IMAGE)}) == 4


def test_yes_and_no_are_single_tokens_after_the_chat_template(tokens) -> None:  # type: ignore[no-untyped-def]
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Is it? Answer Yes or No."}]}]
    rendered = processor(tokens).apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert rendered == "<s>USER: <image>\nIs it? Answer Yes or No. ASSISTANT:"
    before = tokens.encode(rendered, add_special_tokens=False)
    seen = set()
    for answer in (" Yes", " No"):
        after = tokens.encode(rendered + answer, add_special_tokens=False)
        assert after[:-1] == before
        assert after[-1] == tokens.encode(answer, add_special_tokens=False)[0]
        seen.add(after[-1])
    assert len(seen) == 2


def test_a_whole_conversation_is_rendered(tokens) -> None:  # type: ignore[no-untyped-def]
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "Hm?"}, {"type": "image"}, {"type": "image"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Yes"}]},
    ]
    rendered = tokens.apply_chat_template(turns, chat_template=CHAT_TEMPLATE, tokenize=False)
    assert rendered == "<s>USER: <image>\n<image>\nHm? ASSISTANT: Yes</s>"


def test_served_prompts_are_short_in_it(tokens) -> None:  # type: ignore[no-untyped-def]
    issues = load_policy(default_policy_path()).slice(None).issues
    for prompt in plan(issues, context_block(Context(title="a title"))).prompts:
        words = len(prompt.split())
        assert words < len(tokens.encode(prompt, add_special_tokens=False)) < 2 * words


def test_a_caption_ends_where_the_text_tower_pools(art: Art, tmp_path: Path) -> None:
    made = clip_tokenizer(art, tmp_path / "tokenizer")
    for caption in ("a picture of cat", "a picture of " + "house with garden and " * 40):
        row = made(caption, max_length=48, truncation=True, padding="max_length")
        assert len(row["input_ids"]) == 48
        last = sum(row["attention_mask"]) - 1
        assert row["input_ids"][0] == made.bos_token_id
        assert row["input_ids"][last] == made.eos_token_id
        assert row["input_ids"].count(made.eos_token_id) == 1
        assert set(row["input_ids"][last + 1 :]) <= {made.pad_token_id}


def test_the_saved_text_tokenizer_is_the_same(art: Art, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    made = clip_tokenizer(art, tmp_path / "tokenizer")
    again = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    text = "a picture of house with garden and bug"
    assert again.encode(text) == made.encode(text)
    assert (len(again), again.pad_token_id, again.eos_token_id) == (len(made), made.pad_token_id, made.eos_token_id)


def test_kin_are_never_triggers_nor_roles(classes: Classes) -> None:
    kin = classes.kin()
    assert kin.shape == (len(classes.names) + 1, len(TAGS))
    assert not kin[-1].any(), "the background is of no kind"
    for index, name in enumerate(classes.names):
        if name in ROLE_OF:
            assert not kin[index].any()
    triggers = [TAGS.index(role) for role in TRIGGER_ROLES]
    assert not kin[:, triggers].any()
