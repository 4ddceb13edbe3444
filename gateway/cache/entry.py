"""From a result to an entry and back, and which results are worth keeping. Pure."""

import zlib

from pydantic import Field, ValidationError

from gateway.cache.key import VERSION
from gateway.cache.protocol import MAX_ENTRY_BYTES
from services.contracts import ResultModel, RouteRequest, RouteResult, RouterState

MAX_JSON_BYTES = 2 * 1024 * 1024
"""Of an entry's JSON: a few kB hold eight issues; hostile bytes may not unfold to more than this."""


class Entry(ResultModel):
    """What is kept. It names its key, so that an entry copied to another key is not taken for its own."""

    version: int = Field(description="See key.VERSION.")
    key: str
    result: RouteResult


def keepable(result: RouteResult, request: RouteRequest, state: RouterState) -> bool:
    """Whether the result is whole, answers this request, and was made under this state.

    Degraded results are not: those without an answer of the ranker where an issue escalated, or without an issue.
    """
    made_under = (result.encoder, result.bank_revision, result.configuration)
    if made_under != (state.encoder, state.bank_revision, state.configuration):
        return False
    asked = request.policy.issues
    if [issue.id for issue in result.issues] != [issue.id for issue in asked]:
        return False
    for issue, policy in zip(result.issues, asked, strict=True):
        escalated = request.mode == "full" or issue.risk >= policy.router_threshold
        if issue.threshold != policy.router_threshold or issue.escalated != escalated:
            return False
    escalated_ids = {issue.id for issue in result.issues if issue.escalated}
    if not escalated_ids:
        return result.rank is None and result.rank_missing == "not_escalated"
    rank = result.rank
    return (
        rank is not None
        and result.rank_missing is None
        and rank.model == state.ranker
        and escalated_ids <= {issue.id for issue in rank.issues}
    )


def encode(key: str, result: RouteResult) -> bytes | None:
    """The entry of a result; None where it would be too large."""
    text = Entry(version=VERSION, key=key, result=result).model_dump_json().encode()
    entry = zlib.compress(text, level=1)
    return entry if len(entry) <= MAX_ENTRY_BYTES and len(text) <= MAX_JSON_BYTES else None


def decode(key: str, entry: bytes, request: RouteRequest, state: RouterState) -> RouteResult | None:
    """The result in an entry; None where the bytes are not an entry of this key with a result worth keeping.

    Args:
        key: under which the bytes were found.
        entry: anything; whoever can write to the cache may have put it there.
        request: that is asked now.
        state: that holds now.
    """
    if len(entry) > MAX_ENTRY_BYTES:
        return None
    try:
        unfolding = zlib.decompressobj()
        text = unfolding.decompress(entry, MAX_JSON_BYTES)
        if not unfolding.eof or unfolding.unused_data:
            return None
        found = Entry.model_validate_json(text)
    except (zlib.error, ValidationError):
        return None
    if (found.version, found.key) != (VERSION, key) or not keepable(found.result, request, state):
        return None
    return found.result
