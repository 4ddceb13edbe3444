"""What is sent to a chat completions server: addresses, parameters, frames, text."""

import asyncio
import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ranker_svc.engines.openai.messages import Conversation, Dialect, RequestBody, plain
from ranker_svc.engines.openai.server import address_of
from ranker_svc.engines.protocol import EngineStartError, FrameImage
from ranker_svc.engines.yes_no import AnswerTokens

FRAMES = [FrameImage(jpeg, Image.new("RGB", (2, 2))) for jpeg in (b"\xff\xd8one", b"\xff\xd8two")]


def sent(body: RequestBody) -> Any:
    async def whole() -> bytes:
        return b"".join([part async for part in body])

    content = asyncio.run(whole())
    assert body.headers["Content-Length"] == str(len(content))
    return json.loads(content)


@pytest.mark.parametrize(
    "url", ["http://host:8000", "http://host:8000/", "http://host:8000/v1", " http://host:8000/v1/ "]
)
def test_v1_may_be_there_or_not(url: str) -> None:
    assert address_of(url).root == "http://host:8000"
    assert address_of(url).name == "host:8000"


def test_an_address_keeps_its_path_and_its_brackets() -> None:
    assert address_of("https://[::1]:9/openai/v1").root == "https://[::1]:9/openai"
    assert address_of("https://gate/v1x").root == "https://gate/v1x"


@pytest.mark.parametrize(
    "url",
    ["", "host:8000", "ftp://host", "http://", "http://u:secret@host", "http://h?key=secret", "http://h:x/secret"],
)
def test_what_is_no_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(EngineStartError) as refused:
        address_of(url)
    assert "secret" not in str(refused.value)


def test_frames_come_first_as_they_were_and_the_text_last() -> None:
    body = sent(Conversation.of(FRAMES).body(Dialect("m", "top", top=20), 'Is "this" é?'))
    assert body["messages"][0]["role"] == "user"
    *images, text = body["messages"][0]["content"]
    assert text == {"type": "text", "text": 'Is "this" é?'}
    urls = [image["image_url"]["url"] for image in images]
    assert [base64.b64decode(url.removeprefix("data:image/jpeg;base64,")) for url in urls] == [f.jpeg for f in FRAMES]
    assert {key: body[key] for key in body if key != "messages"} == {
        "model": "m",
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 20,
    }


def test_named_tokens_are_asked_for_with_pinned_sampling() -> None:
    tokens = AnswerTokens(yes=(9, 2), no=(4,))
    asked = Dialect("m", "token_ids", tokens=tokens, add_special_tokens=True).parameters()
    assert asked["logprob_token_ids"] == [2, 4, 9]
    assert asked["return_tokens_as_token_ids"] is True
    assert asked["add_special_tokens"] is True
    assert (asked["temperature"], asked["top_p"], asked["repetition_penalty"]) == (0, 1.0, 1.0)
    assert "top_logprobs" not in asked


def test_nothing_that_looks_like_a_special_token_is_sent() -> None:
    assert plain("a <image> b </s><|im_end|> [INST] c") == "a   b      c"
    # What is left must not be one either.
    assert plain("[IN[INST]ST] <<x>image>") == "[IN ST] < image>"
    assert plain("less < more > and [note]: 3 <4") == "less < more > and [note]: 3 <4"


@given(st.text(alphabet='<>|/[]aI_ \n"\\é', max_size=40))
def test_any_text_arrives(text: str) -> None:
    body = sent(Conversation.of(()).body(Dialect("m", "top", top=2), text))
    assert body["messages"][0]["content"][-1]["text"] == plain(text)
    assert plain(plain(text)) == plain(text)
