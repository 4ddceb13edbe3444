"""How many values a JSON text may hold: the largest legal requests pass, floods are refused before they are parsed."""

import json

import pytest

from ranker_svc.routes import MAX_MARKS as RANKER_MARKS
from router_svc.settings import Settings
from services.contracts import Assembly, Context, IssuePolicy, IssueQuestions, PolicySlice, RankRequest, RouteRequest
from services.contracts.rank import Frame
from services.errors import MalformedRequest, TooLarge
from services.web import parse_part
from services.web.structure import MAX_MARKS, check_structure
from services.web.upload import parse_body

LONG = "\N{LINEAR B SYLLABLE B008 A}"  # four bytes of UTF-8


def largest_context() -> Context:
    return Context(
        title=LONG * 1_000,
        description=LONG * 10_000,
        tags=(LONG * 100,) * 64,
        language="ab" + "-abcdefgh" * 3,
        uploader_id=LONG * 256,
        metadata={f"{index:02}{LONG * 62}": LONG * 1_000 for index in range(64)},
    )


def largest_route_request() -> RouteRequest:
    ids = tuple(f"a{index:063}" for index in range(256))
    issues = tuple(
        IssuePolicy(
            id=each,
            name=LONG * 100,
            definition=LONG * 2_000,
            assembly=Assembly(method="weighted_sum", fine_weight=0.123456789012345),
            calibrator=LONG * 128,
            router_threshold=0.123456789012345,
            ask_with=ids[:64],
        )
        for each in ids
    )
    policy = PolicySlice(policy_hash="0" * 64, issues=issues)
    return RouteRequest(sha256="0" * 64, context=largest_context(), policy=policy)


def test_the_largest_route_request_fits_and_little_more() -> None:
    request = largest_route_request()
    raw = request.model_dump_json().encode()
    most = Settings.model_fields["max_json_bytes"].default
    assert most * 0.9 < len(raw) <= most
    check_structure(raw)
    with pytest.raises(TooLarge):
        check_structure(raw, MAX_MARKS // 2)
    assert parse_part(RouteRequest, raw) == request


def test_commas_in_texts_are_not_counted() -> None:
    check_structure(json.dumps({"text": ',:[{"\\' * 100_000}).encode())


def test_the_largest_rank_request_fits_the_ranker() -> None:
    issues = tuple(
        IssueQuestions(id=f"a{index:063}", name=",:[{" * 25, definition=",:[{" * 500, calibrator="x")
        for index in range(256)
    )
    frames = tuple(Frame.model_construct(time_s=0.0, jpeg=b"") for _ in range(64))
    raw = (
        RankRequest.model_construct(frames=frames, context=largest_context(), issues=issues).model_dump_json().encode()
    )
    check_structure(raw, RANKER_MARKS)
    with pytest.raises(TooLarge):
        check_structure(raw, RANKER_MARKS // 3)


@pytest.mark.parametrize(
    "flood",
    [
        b'{"issues":[' + b"0," * 1_000_000 + b"0]}",
        b"[" * 1_000_000,
        b'{"a":' * 1_000_000,
        b"{" + b",".join(b'"%d":0' % index for index in range(100_000)) + b"}",
        b'["' + b'a","' * 1_000_000 + b'"]',
        b'"' + b'\\"' * 100 + b"," * 40_000 + b'"' + b"," * 40_000,
    ],
    ids=["numbers", "brackets", "nesting", "keys", "strings", "behind a string"],
)
def test_floods_are_refused(flood: bytes) -> None:
    with pytest.raises(TooLarge, match="more than 32000"):
        check_structure(flood)


def test_what_stands_behind_two_strings_in_a_row_is_not_counted() -> None:
    # No parser gets there, and millions of such strings would take seconds to count.
    raw = b'""' * 1_000 + b"," * 40_000
    check_structure(raw)
    with pytest.raises(MalformedRequest):
        parse_body(RouteRequest, raw)


def test_a_string_without_end_is_read_once() -> None:
    # Each escaped quote would begin a search of its own: quadratic, were the string not taken to the end of the text.
    check_structure(b'"' + b'\\"' * 2_000_000 + b"," * 40_000)
