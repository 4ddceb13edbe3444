"""The gateway's file of API keys: a new entry, appended whole or not at all."""

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import yaml
from pydantic import ValidationError

from services.api_keys import ApiKey, KeySet, digest_of, load_keys, new_key, parse_keys

_OWNER_ALONE = 0o600


def make_key(key_id: str, scopes: Sequence[str], expires: str | None) -> tuple[str, str]:
    """A new key, and the YAML entry that stands for it in a file.

    Args:
        key_id: names the caller in logs.
        scopes: what the key may do.
        expires: a date or time of ISO 8601; None means never.

    Raises:
        ValueError: one of them cannot be used; the text names it.
    """
    key = new_key()
    given = {"id": key_id, "sha256": digest_of(key), "scopes": tuple(scopes)}
    try:
        ApiKey.model_validate(given | ({"expires": expires} if expires is not None else {}))
    except ValidationError as error:
        problems = [f"{'/'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_input=False)]
        raise ValueError("; ".join(problems)) from error
    # Quoted: a hash of digits alone would be a number.
    lines = [f"- id: {_quoted(key_id)}", f"  sha256: {_quoted(digest_of(key))}", f"  scopes: [{', '.join(scopes)}]"]
    if expires is not None:
        lines.append(f"  expires: {_quoted(expires)}")
    return key, "\n".join(lines) + "\n"


def append_entry(path: Path, entry: str) -> KeySet:
    """Add an entry to a file of keys, made where it is missing; the file is its owner's alone afterwards.

    A running gateway sees the old file or the new one, never a part of it.

    Returns:
        All keys of the file.

    Raises:
        services.api_keys.KeysError: the file, or the file with the entry, cannot be used; it is left as it was.
        OSError: it cannot be written.
    """
    path = path.resolve()  # a link stays one, and the new file lies beside the old one
    before = ""
    if path.exists():
        load_keys(path)
        before = path.read_text(encoding="utf-8")
    text = before + ("\n" if before and not before.endswith("\n") else "") + entry
    keys = parse_keys(text, path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ALONE)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
    return keys


def _quoted(value: str) -> str:
    return yaml.safe_dump(value, default_style='"').strip()
