"""Validation errors in bulk, and what another service says of waiting."""

import json
import time

import pytest

from services.clients.http import _seconds
from services.contracts import ModerationRequest
from services.errors import InvalidPayload
from services.web import parse_part


def test_a_flood_of_wrong_fields_is_counted_and_not_listed() -> None:
    raw = json.dumps(
        {"context": {"metadata": {f"key{i}": i for i in range(60)}, **{f"no{i}": 1 for i in range(10_000)}}}
    )
    started = time.perf_counter()
    with pytest.raises(InvalidPayload, match="wrong in 10060 places") as caught:
        parse_part(ModerationRequest, raw.encode())
    assert caught.value.errors == ()
    assert time.perf_counter() - started < 5


def test_a_few_wrong_fields_are_named() -> None:
    with pytest.raises(InvalidPayload) as caught:
        parse_part(ModerationRequest, b'{"mode": "maybe", "surprise": 1}')
    assert {problem.pointer for problem in caught.value.errors} == {"request/mode", "request/surprise"}


@pytest.mark.parametrize(
    "value", [None, "", "1e999", "-1", "nan", "[" * 60_000, "9" * 40, "Wed, 21 Oct 2026 07:28:00 GMT"]
)
def test_a_strange_retry_after_is_not_believed(value: str | None) -> None:
    assert _seconds(value) is None


def test_a_retry_after_in_seconds_is_believed() -> None:
    assert _seconds("7") == 7.0
