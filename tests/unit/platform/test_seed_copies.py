"""What a copy of a seed may say: nothing that this bank would not have made itself."""

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from pydantic import ValidationError

from services.contracts import Seed, SeedCopy, SeedRemoval, SeedStats
from services.contracts.seeds import MAX_COUNT, MAX_NOTE, MAX_SEED_FRAMES, MAX_TEXT

AT = datetime(2026, 5, 1, tzinfo=UTC)
TEXT = "a picture of a knife"
REMOVAL = SeedRemoval(at=AT, by="ann", why="shows a toy")


def body(**changes: Any) -> dict[str, Any]:
    seed = Seed(
        id="a" * 32, version=1, issue="arson", kind="golden", state="active", share=1.0, start_s=0.0, end_s=1.0,
        sha256="b" * 64, vectors=4, created_at=AT, created_by="ann", updated_at=AT, updated_by="ann",
    )  # fmt: skip
    return {"seed": seed.model_copy(update=changes).model_dump(mode="json")}


def sentence(text: str = TEXT, **changes: Any) -> dict[str, Any]:
    digest = sha256(text.encode()).hexdigest()
    return body(**({"kind": "text", "text": text, "vectors": 1, "sha256": digest} | changes))


@pytest.mark.parametrize(
    "copy",
    [
        body(),
        body(vectors=MAX_SEED_FRAMES, note="n" * MAX_NOTE, stats=SeedStats(hits=MAX_COUNT)),
        body(state="removed", removed=REMOVAL),
        sentence(),
        sentence("x" * MAX_TEXT),
    ],
    ids=["frames", "the most of everything", "a tombstone", "a sentence", "a long sentence"],
)
def test_what_a_bank_makes_is_taken(copy: dict[str, Any]) -> None:
    assert SeedCopy.model_validate(copy).seed.id == "a" * 32


@pytest.mark.parametrize(
    ("copy", "why"),
    [
        (body(text=TEXT), "no other kind has one"),
        (body(kind="text"), "has a text"),
        (sentence(vectors=2), "one vector"),
        (sentence(sha256="b" * 64), "its own sha256"),
        (sentence("x" * (MAX_TEXT + 1)), f"1 to {MAX_TEXT} characters"),
        (sentence(""), f"1 to {MAX_TEXT} characters"),
        (body(vectors=MAX_SEED_FRAMES + 1), f"at most {MAX_SEED_FRAMES} vectors"),
        (body(state="removed"), "has a tombstone"),
        (body(removed=REMOVAL), "no other seed has one"),
        (body(note="n" * (MAX_NOTE + 1)), f"at most {MAX_NOTE} characters"),
        (body(created_by="n" * (MAX_NOTE + 1)), f"at most {MAX_NOTE} characters"),
        (body(quarantined_why="n" * (MAX_NOTE + 1)), f"at most {MAX_NOTE} characters"),
        (
            body(state="removed", removed=SeedRemoval(at=AT, by="ann", why="n" * (MAX_NOTE + 1))),
            f"at most {MAX_NOTE} characters",
        ),
        (body(stats=SeedStats(hits=1, refuted=MAX_COUNT + 1)), f"at most {MAX_COUNT}"),
    ],
)
def test_what_no_bank_makes_is_refused(copy: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        SeedCopy.model_validate(copy)
