"""Keys and entries of the result cache: what tells two requests apart, what is kept, what is believed."""

import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache.entry import MAX_JSON_BYTES, decode, encode, keepable
from gateway.cache.key import JUDGED, key_of
from gateway.cache.protocol import MAX_ENTRY_BYTES
from services.contracts import Assembly, Context, RankResult, RouteRequest, RouteResult, RouterState
from services.prompts import context_block
from tests.unit.gateway.cache_samples import RANKER, REQUEST, STATE, issue, result

KEY = key_of(REQUEST, STATE)
CONTEXT = REQUEST.context
SLICE = REQUEST.policy


def requested(**fields: Any) -> RouteRequest:
    return REQUEST.model_copy(update=fields)


def about(**fields: Any) -> RouteRequest:
    return requested(context=CONTEXT.model_copy(update=fields))


def judged(*issues: Any) -> RouteRequest:
    return requested(policy=SLICE.model_copy(update={"issues": issues}))


OTHERS = {
    "bytes": requested(sha256="c" * 64),
    "mode": requested(mode="full"),
    "title": about(title="bonfire"),
    "description": about(description=""),
    "tags": about(tags=("fire", "night")),
    "language": about(language="de"),
    "policy": requested(policy=SLICE.model_copy(update={"policy_hash": "d" * 64})),
    "fewer issues": judged(SLICE.issues[0]),
    "order of issues": judged(*reversed(SLICE.issues)),
    "router threshold": judged(issue("arson", 0.4), SLICE.issues[1]),
    "prompt": judged(issue("arson", prompt="P4"), SLICE.issues[1]),
    "definition": judged(SLICE.issues[0].model_copy(update={"definition": "Another."}), SLICE.issues[1]),
    "siblings": judged(issue("arson", ask_with=("smoking",)), SLICE.issues[1]),
    "assembly": judged(issue("arson", assembly=Assembly(fine_weight=0.6)), SLICE.issues[1]),
    "calibrator": judged(issue("arson", calibrator="x"), SLICE.issues[1]),
}
OTHER_STATES = {
    "encoder": {"encoder": "e2"},
    "bank": {"bank_revision": "r2"},
    "router settings": {"configuration": "k2"},
    "ranker model": {"ranker": RANKER.model_copy(update={"fingerprint": "f2"})},
    "engine": {"ranker": RANKER.model_copy(update={"engine": "vllm"})},
    "calibrators and ranker settings": {"ranker": RANKER.model_copy(update={"configuration": "c2"})},
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_shapes_a_result_is_in_the_key(name: str) -> None:
    assert key_of(OTHERS[name], STATE) != KEY


@pytest.mark.parametrize("name", OTHER_STATES)
def test_what_holds_now_is_in_the_key(name: str) -> None:
    assert key_of(REQUEST, STATE.model_copy(update=OTHER_STATES[name])) != KEY


def test_a_tenant_gets_no_result_of_another() -> None:
    assert key_of(REQUEST, STATE, tenant="x") != KEY


def test_what_no_model_is_shown_is_not_in_the_key() -> None:
    """The same video of another uploader is the same question, as long as context_block says nothing of them."""
    unshown = set(Context.model_fields) - set(JUDGED)
    assert unshown == {"uploader_id", "metadata"}
    other = about(uploader_id="u-2", metadata={"k": "v"})
    assert key_of(other, STATE) == KEY
    assert context_block(other.context) == context_block(CONTEXT)


def test_equal_requests_have_one_key_whatever_made_them() -> None:
    again = RouteRequest.model_validate_json(REQUEST.model_dump_json())
    assert key_of(again, RouterState.model_validate_json(STATE.model_dump_json())) == KEY


def test_strange_text_has_a_key() -> None:
    assert len({key_of(about(title=title), STATE) for title in ("\x00", "\ud800", "\U0001f525", "")}) == 4


FULL = requested(mode="full")
RANKED = result((0.9, 0.1))
RANK = RankResult.model_validate(RANKED.rank)
OTHER_RANKER = RANKER.model_copy(update={"fingerprint": "g"})
WHOLE: dict[str, tuple[RouteRequest, RouteResult]] = {
    "filtered": (REQUEST, result()),
    "ranked": (REQUEST, RANKED),
    "risk at the threshold": (REQUEST, result((0.5, 0.1))),
}
BROKEN: dict[str, tuple[RouteRequest, RouteResult]] = {
    "another encoder": (REQUEST, result(encoder="e2")),
    "another bank": (REQUEST, result(bank_revision="r2")),
    "other settings": (REQUEST, result(configuration="k2")),
    "settings unknown": (REQUEST, result(configuration="")),
    "another ranker": (REQUEST, result((0.9, 0.1), rank=RANK.model_copy(update={"model": OTHER_RANKER}))),
    "ranker unavailable": (REQUEST, result((0.9, 0.1), ranked=False, rank_missing="unavailable")),
    "ranker overloaded": (REQUEST, result((0.9, 0.1), ranked=False, rank_missing="overloaded")),
    "deadline": (REQUEST, result((0.9, 0.1), ranked=False, rank_missing="deadline")),
    "refused": (REQUEST, result((0.9, 0.1), ranked=False, rank_missing="refused")),
    "no reason": (REQUEST, result((0.9, 0.1), ranked=False, rank_missing=None)),
    "a rank without the escalated issue": (REQUEST, result((0.9, 0.1), rank=RANK.model_copy(update={"issues": ()}))),
    "an issue is missing": (REQUEST, result().model_copy(update={"issues": result().issues[:1]})),
    "issues in another order": (REQUEST, result().model_copy(update={"issues": result().issues[::-1]})),
    "another threshold": (judged(issue("arson", 0.7), SLICE.issues[1]), result((0.6, 0.1))),
    "risky and not escalated": (
        REQUEST,
        result().model_copy(
            update={"issues": (result().issues[0].model_copy(update={"risk": 0.9}), result().issues[1])}
        ),
    ),
    "an audit without escalation": (FULL, result()),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_result_is_kept_and_found_again(name: str) -> None:
    request, kept = WHOLE[name]
    assert keepable(kept, request, STATE)
    entry = encode(KEY, kept)
    assert entry is not None
    assert decode(KEY, entry, request, STATE) == kept


@pytest.mark.parametrize("name", BROKEN)
def test_another_result_is_neither_kept_nor_believed(name: str) -> None:
    request, broken = BROKEN[name]
    assert not keepable(broken, request, STATE)
    entry = encode(KEY, broken)
    assert entry is not None
    assert decode(KEY, entry, request, STATE) is None


def forged(padding: int = 0, **fields: Any) -> bytes:
    document = {"version": 1, "key": KEY, "result": result().model_dump(mode="json"), **fields}
    return zlib.compress(json.dumps(document).encode() + b" " * padding)


def test_the_forgeries_below_differ_from_an_entry_in_one_thing() -> None:
    assert decode(KEY, forged(padding=10_000), REQUEST, STATE) == result()


ENTRY = encode(KEY, result()) or b""
FOREIGN = {
    "nothing": b"",
    "plain text": b"OK",
    "plain JSON": result().model_dump_json().encode(),
    "cut": ENTRY[:-5],
    "trailing bytes": ENTRY + b"x",
    "a flipped bit": ENTRY[:40] + bytes([ENTRY[40] ^ 1]) + ENTRY[41:],
    "compressed noise": zlib.compress(b"\xff\x00" * 100),
    "another document": zlib.compress(b'{"verdict": "allow"}'),
    "of another key": encode("0" * 64, result()) or b"",
    "of another version": forged(version=2),
    "a risk out of range": forged(result={**result().model_dump(mode="json"), "issues": [{"id": "arson", "risk": 7}]}),
    "an infinite rate": zlib.compress(zlib.decompress(forged()).replace(b'"fps": 8.0', b'"fps": 1e999')),
    "unfolds without end": forged(padding=MAX_JSON_BYTES),
    "too large": b"x" * (MAX_ENTRY_BYTES + 1),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_bytes_are_a_miss(name: str) -> None:
    assert decode(KEY, FOREIGN[name], REQUEST, STATE) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_miss(noise: bytes) -> None:
    assert decode(KEY, noise, REQUEST, STATE) is None


def test_a_result_that_is_too_large_is_not_kept() -> None:
    assert encode(KEY, result(warnings=("x" * MAX_JSON_BYTES,))) is None
