"""ETag and If-Match: what a change must say, and what is refused."""

import pytest
from starlette.requests import Request

from services.errors import MalformedRequest, PreconditionRequired
from services.web import etag, expected_version, if_match_parameter


def request(*values: str) -> Request:
    return Request({"type": "http", "headers": [(b"if-match", value.encode()) for value in values]})


@pytest.mark.parametrize("version", [1, 3, 1_000_000])
def test_the_etag_that_was_answered_names_its_version(version: int) -> None:
    assert expected_version(request(etag(version))) == version
    assert etag(3) == '"3"'


def test_a_star_is_any_version() -> None:
    assert expected_version(request(" * ")) is None


def test_a_change_without_a_version_is_refused() -> None:
    with pytest.raises(PreconditionRequired):
        expected_version(request())


@pytest.mark.parametrize(
    "value", ["", "3", 'W/"3"', '"0"', '"03"', '"-1"', '"1", "2"', '"x"', '"\u0663"', '"' + "9" * 30 + '"', "**"]
)
def test_what_is_no_etag_of_ours_is_refused(value: str) -> None:
    with pytest.raises(MalformedRequest):
        expected_version(request(value))


def test_two_headers_are_refused() -> None:
    with pytest.raises(MalformedRequest):
        expected_version(request('"1"', '"1"'))
    with pytest.raises(MalformedRequest):
        expected_version(request("*", '"1"'))


def test_openapi_shows_the_header() -> None:
    shown = if_match_parameter()
    assert (shown["name"], shown["in"], shown["required"]) == ("If-Match", "header", True)
