"""API keys: how one is made, how a file of them is read, and how a presented one is found again."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from services.contracts import Sha256
from services.policy.document import Document, PolicyError, parse_document

Scope = Literal["decide", "read", "seeds", "review", "admin"]
"""`decide`: ask about videos. `read`: decisions and the policy. `seeds`: the seed bank. `admin`: its encoder. `review`
is kept for routes to come."""

SCOPES: tuple[Scope, ...] = get_args(Scope)
PREFIX = "wk_"
"""Begins every key, so that scanners for leaked secrets can know it."""

MAX_FILE_BYTES = 1_000_000
_KEY_BYTES = 32
_MAX_KEY_LENGTH = 128
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def _midnight(value: object) -> object:
    return f"{value}T00:00:00Z" if isinstance(value, str) and _DATE.fullmatch(value) else value


KeyId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class ApiKey(BaseModel):
    """One entry of the file: the hash of a key, and what its holder may do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: KeyId = Field(description="Names the caller in logs.")
    sha256: Sha256 = Field(repr=False, description="Of the key's text.")
    scopes: tuple[Scope, ...] = Field(min_length=1)
    expires: Annotated[AwareDatetime, BeforeValidator(_midnight)] | None = Field(
        default=None, description="The key is refused from then on; a date alone means midnight UTC."
    )


class KeysError(ValueError):
    """A file of keys that cannot be used; as text, one line for each error: `keys.yaml:3:5: [0].scopes: ...`."""


@dataclass(frozen=True)
class KeySet:
    """The keys that are in force."""

    keys: Sequence[ApiKey] = ()

    def find(self, presented: str, now: datetime) -> ApiKey | None:
        """The key that was presented, unless it is unknown or has expired at `now`.

        The time it takes tells nothing: every hash is compared, each in constant time.
        """
        if len(presented) > _MAX_KEY_LENGTH:
            return None
        digest = digest_of(presented)
        matches = [key for key in self.keys if hmac.compare_digest(key.sha256, digest)]
        return next((key for key in matches if key.expires is None or now < key.expires), None)


def new_key() -> str:
    """A key of 256 random bits, 46 characters."""
    return PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def digest_of(key: str) -> str:
    """SHA-256 of a key's text, 64 hexadecimal digits.

    A slow hash protects what people think up; nobody searches 256 random bits, however fast the hash.
    """
    return hashlib.sha256(key.encode()).hexdigest()


def utc_now() -> datetime:
    """The time by which keys expire."""
    return datetime.now(UTC)


def load_keys(path: Path) -> KeySet:
    """Read and check a file of keys. Blocks: call it off the loop.

    Raises:
        KeysError: it cannot be read, or has errors; all of them are listed.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "is not UTF-8"
        raise KeysError(f"{path}: cannot be read: {reason}") from error
    return parse_keys(text, path.name)


def parse_keys(text: str, source: str) -> KeySet:
    """The keys in a YAML text: a list with id, sha256, scopes and perhaps expires.

    Raises:
        KeysError: it has errors; they name line and entry, and never a value.
    """
    try:
        document = parse_document(text, source)
    except PolicyError as error:
        raise KeysError("\n".join(f"{source}:{p.line}:{p.column}: {p.detail}" for p in error.problems)) from error
    found = [(p.line, p.column, p.path, p.detail) for p in document.problems]
    if not isinstance(document.data, list) or not document.data:
        raise KeysError(f"{source}:1:1: must be a list of keys: id, sha256, scopes and perhaps expires")
    keys = [_entry(document, index, entry, found) for index, entry in enumerate(document.data)]
    found += _repeated(document, keys)
    if found:
        raise KeysError(
            "\n".join(f"{source}:{line}:{at}: {path}: {detail}" for line, at, path, detail in sorted(found))
        )
    return KeySet(tuple(key for key in keys if key is not None))


_Found = tuple[int, int, str, str]


def _entry(document: Document, index: int, entry: Any, found: list[_Found]) -> ApiKey | None:
    try:
        return ApiKey.model_validate(entry)
    except ValidationError as error:
        every = error.errors(include_url=False, include_input=False, include_context=False)
        found += [_problem(document, (index, *each["loc"]), _said(each["type"], each["msg"])) for each in every]
        return None


def _repeated(document: Document, keys: Sequence[ApiKey | None]) -> list[_Found]:
    found: list[_Found] = []
    seen: dict[tuple[str, str], int] = {}
    for index, key in enumerate(keys):
        for name, value in () if key is None else (("id", key.id), ("sha256", key.sha256)):
            first = seen.setdefault((name, value), index)
            if first != index:
                found.append(_problem(document, (index, name), f"the same as that of entry {first}"))
    return found


def _problem(document: Document, path: tuple[int | str, ...], detail: str) -> _Found:
    problem = document.problem(path, detail)
    return problem.line, problem.column, problem.path, problem.detail


def _said(kind: str, message: str) -> str:
    match kind:
        case "extra_forbidden":
            return "unknown key"
        case "missing":
            return "missing"
        case "model_type":
            return "must have id, sha256, scopes and perhaps expires"
        case "too_short":
            return "at least one is needed"
    return message
