"""No markup of any model family that is served comes through, however it is hidden."""

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from services.contracts import Context, IssueQuestions
from services.prompts import context_block, neutralise, plan, strip_special
from tests.unit.prompts.families import TOKENS, texts

FORMS = ("NFC", "NFD", "NFKC", "NFKD")


def markup(text: str) -> list[str]:
    """The tokens in a text, in any form that a tokenizer may normalise it to, in small letters too."""
    seen = {form: unicodedata.normalize(form, text) for form in FORMS}
    return [token for token in TOKENS for each in seen.values() if token.lower() in each.lower()]


@settings(max_examples=300)
@given(texts)
def test_an_uploaders_text_holds_no_token(text: str) -> None:
    assert markup(neutralise(text)) == []


@given(title=texts, description=texts, tags=st.lists(texts, max_size=5), size=st.integers(0, 400))
def test_a_context_holds_no_token_wherever_it_is_cut(title: str, description: str, tags: list[str], size: int) -> None:
    context = Context(title=title[:1_000], description=description[:10_000], tags=tuple(tag[:100] for tag in tags))
    block = context_block(context, size)
    assert markup(block) == []
    assert len(block.split("\n")) <= 5
    assert block.encode().decode() == block


@settings(max_examples=300)
@given(name=texts.filter(bool), definition=texts.filter(bool))
def test_a_policy_may_hold_markup_and_the_prompt_does_not(name: str, definition: str) -> None:
    issue = IssueQuestions(id="a", name=name[:100], definition=definition[:2_000], prompt="P4")
    for prompt in plan([issue]).prompts:
        stripped = strip_special(prompt, TOKENS)
        assert [token for token in TOKENS if token in stripped] == []
        assert stripped.rstrip().endswith("Answer Yes or No.")
