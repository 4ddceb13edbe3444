"""The JSON part and the headers: broken, against the contract, or strange and still good."""

import json
from typing import Any

import httpx
import pytest

from services.deadline import DEADLINE_HEADER
from tests.integration.catalogue.cascade import MAX_JSON, Cascade

COVERS = ("malformed_request", "invalid_payload", "unknown_issue", "deadline_exceeded")

NOT_JSON: list[Any] = [
    pytest.param(b"", id="nothing"),
    pytest.param(b"{", id="cut short"),
    pytest.param(b"{'mode': 'full'}", id="single quotes"),
    pytest.param(b'{"mode": "full"} more', id="more behind it"),
    pytest.param(b"[" * 9_000 + b"]" * 9_000, id="deep nesting"),
    pytest.param(b'{"context": {"metadata": ' + b'{"a": ' * 2_000 + b"1" + b"}" * 2_000 + b"}}", id="deep objects"),
    pytest.param(b'{"context": {"title": "\xff\xfe"}}', id="wrong UTF-8"),
    pytest.param('{"mode": "full"}'.encode("utf-16"), id="UTF-16"),
    pytest.param(b'\xef\xbb\xbf{"mode": "full"}', id="a byte order mark"),
    pytest.param(b'{"context": {"title": "\\ud800"}}', id="lone surrogate"),
    pytest.param(b'{"context": {"title": "\\udc00\\ud800"}}', id="surrogates in the wrong order"),
    pytest.param(b'{"context": {"title": "a\x00b"}}', id="a bare NUL"),
    pytest.param(b'{"issues": [1' + b"0" * 5_000 + b"]}", id="an integer of 5,000 digits"),
]


@pytest.mark.parametrize("raw", NOT_JSON)
async def test_no_json(cascade: Cascade, raw: bytes) -> None:
    response = await cascade.send(request=raw)
    assert response.json()["code"] in ("malformed_request", "invalid_payload")
    await cascade.refuses(response, response.status_code, response.json()["code"])


INVALID: list[Any] = [
    pytest.param(b"[]", "request", id="a list"),
    pytest.param(b"null", "request", id="null"),
    pytest.param(b'"full"', "request", id="a string"),
    pytest.param(b'{"surprise": 1}', "request/surprise", id="unknown field"),
    pytest.param(b'{"context": {"surprise": 1}}', "request/context/surprise", id="unknown field inside"),
    pytest.param(b'{"issues": []}', "request/issues", id="no issues"),
    pytest.param(b'{"issues": "arson"}', "request/issues", id="issues as a string"),
    pytest.param(b'{"issues": ["Not An Id"]}', "request/issues/0", id="no id"),
    pytest.param(json.dumps({"issues": ["arson"] * 257}).encode(), "request/issues", id="too many issues"),
    pytest.param(b'{"mode": "maybe"}', "request/mode", id="unknown mode"),
    pytest.param(b'{"context": {"title": NaN}}', "request/context/title", id="NaN"),
    pytest.param(b'{"context": {"title": 1e999}}', "request/context/title", id="infinity"),
    pytest.param(json.dumps({"context": {"title": "x" * 1_001}}).encode(), "request/context/title", id="long title"),
    pytest.param(b'{"context": {"language": "not a language"}}', "request/context/language", id="language"),
    pytest.param(json.dumps({"context": {"tags": ["x"] * 65}}).encode(), "request/context/tags", id="many tags"),
    pytest.param(b'{"context": {"metadata": {"": "x"}}}', "request/context/metadata//[key]", id="empty key"),
    pytest.param(b'{"context": {"metadata": {"a": {"b": 1}}}}', "request/context/metadata/a", id="nested metadata"),
]


@pytest.mark.parametrize(("raw", "pointer"), INVALID)
async def test_invalid(cascade: Cascade, raw: bytes, pointer: str) -> None:
    problem = await cascade.refuses(await cascade.send(request=raw), 422, "invalid_payload")
    assert problem.errors[0].pointer == pointer


async def test_thousands_of_wrong_fields_are_not_all_listed(cascade: Cascade) -> None:
    fields = b'{"context": {"metadata": {' + b",".join(b'"%d": 1' % number for number in range(1_500)) + b"}}}"
    assert len(fields) < MAX_JSON
    problem = await cascade.refuses(await cascade.send(request=fields), 422, "invalid_payload")
    assert len(problem.errors) <= 32


async def test_an_issue_that_the_policy_does_not_have(cascade: Cascade) -> None:
    problem = await cascade.refuses(await cascade.send(request='{"issues": ["arson", "piracy"]}'), 422, "unknown_issue")
    assert "piracy" in problem.detail


GOOD: list[Any] = [
    pytest.param('{"issues": ["arson", "arson"]}', ["arson"], id="an issue twice"),
    pytest.param('{"issues": ["smoking", "arson"]}', ["arson", "smoking"], id="another order"),
    pytest.param('{"issues": null}', ["arson", "smoking"], id="null"),
    pytest.param('{"mode": "cascade", "mode": "full"}', ["arson", "smoking"], id="a key twice: the last one counts"),
    pytest.param('{"context": {"title": "a\\u0000b\\u001f"}}', ["arson", "smoking"], id="an escaped NUL"),
    pytest.param('{"context": {"title": "\\ud83d\\ude00 \\uffff \u202e"}}', ["arson", "smoking"], id="strange text"),
    pytest.param('{"context": {"metadata": {"\\u0000": "\\u0000"}}}', ["arson", "smoking"], id="NUL in metadata"),
    pytest.param(" \n\t{} \n", ["arson", "smoking"], id="white space"),
]


@pytest.mark.parametrize(("raw", "issues"), GOOD)
async def test_strange_and_still_good(cascade: Cascade, raw: str, issues: list[str]) -> None:
    response = await cascade.send(request=raw)
    assert response.status_code == 200, response.text
    assert [issue["id"] for issue in response.json()["issues"]] == issues
    again = await cascade.client.get(f"/v1/decisions/{response.json()['id']}")
    assert again.json() == response.json()


@pytest.mark.parametrize("value", ["soon", "-1", "1.5", "1e3", "0x10", "\u00b2", "", "9" * 19])
async def test_a_deadline_that_is_no_number_is_told_before_the_upload(cascade: Cascade, value: str) -> None:
    headers = [(DEADLINE_HEADER.encode(), value.encode("latin-1"))]
    response = await cascade.client.post("/v1/decisions", files={"video": ("v", cascade.good)}, headers=headers)
    await cascade.refuses(response, 400, "malformed_request")


@pytest.mark.parametrize("value", ["0", "1"])
async def test_a_deadline_that_cannot_be_kept(cascade: Cascade, value: str) -> None:
    await cascade.refuses(await cascade.send(**{DEADLINE_HEADER: value}), 504, "deadline_exceeded")


async def test_a_deadline_that_passes_while_the_decoder_works(cascade: Cascade) -> None:
    response = await cascade.send(b"HANG----" + bytes(100), **{DEADLINE_HEADER: "700"})
    await cascade.refuses(response, 504, "deadline_exceeded")


async def test_an_absurd_deadline_is_cut_to_the_most_that_is_allowed(cascade: Cascade) -> None:
    asked: list[int] = []

    async def noting(request: httpx.Request) -> httpx.Response:
        asked.append(int(request.headers[DEADLINE_HEADER]))
        return await cascade.router.real.handle_async_request(request)

    cascade.router.answer = noting
    await cascade.decide(**{DEADLINE_HEADER: "9" * 18})
    (milliseconds,) = asked
    assert milliseconds <= 1_000 * cascade.settings.max_deadline_s


STRANGE_IDS = ["", "a b", "x" * 65, "{}", "<script>", "../..", "\xe9", "a;b", "'"]


@pytest.mark.parametrize("given", STRANGE_IDS)
async def test_a_strange_request_id_is_replaced(cascade: Cascade, given: str) -> None:
    response = await cascade.client.get("/v1/nothing", headers=[(b"X-Request-Id", given.encode("latin-1"))])
    problem = await cascade.refuses(response, 404, "not_found")
    assert problem.request_id != given


async def test_a_request_id_is_kept(cascade: Cascade) -> None:
    response = await cascade.client.get("/v1/nothing", headers={"X-Request-Id": "mine-1"})
    assert (await cascade.refuses(response, 404, "not_found")).request_id == "mine-1"
