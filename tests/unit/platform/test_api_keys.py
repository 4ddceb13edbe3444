"""The file of API keys: what it may hold, how errors name their place, who is let in."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.api_keys import ApiKey, KeysError, KeySet, digest_of, load_keys, new_key, parse_keys

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HASH = "a" * 64


def test_a_key_is_random_and_only_its_hash_is_kept() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("wk_") and len(key) == 46 for key in keys)
    key = keys.pop()
    entry = ApiKey(id="a", sha256=digest_of(key), scopes=("read",))
    assert key not in repr(entry)
    assert entry.sha256 not in repr(entry)


def test_a_key_is_found_by_its_text_until_it_expires() -> None:
    key, other = new_key(), new_key()
    entry = ApiKey(id="a", sha256=digest_of(key), scopes=("read",), expires=NOW)
    keys = KeySet((ApiKey(id="b", sha256=digest_of(other), scopes=("decide",)), entry))
    assert keys.find(key, NOW - timedelta(seconds=1)) == entry
    assert keys.find(key, NOW) is None
    assert keys.find(other, NOW + timedelta(days=9_999)) is not None
    for wrong in ("", key[:-1], key + "x", key.upper(), digest_of(key), "\u00e9" * 9, "x" * 10_000):
        assert keys.find(wrong, NOW - timedelta(1)) is None


def test_a_file_of_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(
        f'- id: backend\n  sha256: "{HASH}"\n  scopes: [decide, read]\n'
        f'- {{id: b, sha256: "{"b" * 64}", scopes: [read], expires: 2027-01-31}}\n'
        f'- {{id: c, sha256: "{"c" * 64}", scopes: [admin], expires: 2027-01-31T10:00:00+02:00}}\n',
        encoding="utf-8",
    )
    first, second, third = load_keys(path).keys
    assert (first.id, first.scopes, first.expires) == ("backend", ("decide", "read"), None)
    assert second.expires == datetime(2027, 1, 31, tzinfo=UTC)
    assert third.expires == datetime(2027, 1, 31, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("", ["keys.yaml:1:1: the file is empty"]),
        ("keys: 1", ["keys.yaml:1:1: must be a list of keys: id, sha256, scopes and perhaps expires"]),
        ("[]", ["keys.yaml:1:1: must be a list of keys: id, sha256, scopes and perhaps expires"]),
        ("- 1", ["keys.yaml:1:3: [0]: must have id, sha256, scopes and perhaps expires"]),
        (
            f"- id: a\n  sha256: {HASH}\n  scopes: [fly]",
            ["keys.yaml:3:12: [0].scopes[0]: Input should be 'decide', 'read', 'seeds', 'review' or 'admin'"],
        ),
        (
            f"- sha256: {HASH}\n  scopes: [read]\n  expire: 1",
            ["keys.yaml:1:3: [0].id: missing", "[0].expire: unknown key"],
        ),
        (f"- id: a b\n  sha256: {HASH}\n  scopes: [read]", ["keys.yaml:1:7: [0].id: String should match pattern"]),
        ("- id: a\n  sha256: wk_secret\n  scopes: [read]", ["keys.yaml:2:11: [0].sha256: String should match pattern"]),
        (f"- id: a\n  sha256: {HASH}\n  scopes: [read]\n  expires: soon", ["keys.yaml:4:12: [0].expires: "]),
        (f"- id: a\n  sha256: {HASH}\n  scopes: [read]\n  expires: 2027-01-01T00:00:00", ["[0].expires: "]),
        (
            f"- {{id: a, sha256: {HASH}, scopes: [read]}}\n- {{id: a, sha256: {HASH}, scopes: [read]}}",
            ["keys.yaml:2:8: [1].id: the same as that of entry 0", "[1].sha256: the same as that of entry 0"],
        ),
        ("- a: [", ["keys.yaml:1:7: not YAML"]),
    ],
)
def test_errors_name_line_and_entry_and_no_value(text: str, errors: list[str]) -> None:
    with pytest.raises(KeysError) as raised:
        parse_keys(text, "keys.yaml")
    for error in errors:
        assert error in str(raised.value)
    assert "wk_secret" not in str(raised.value)


@pytest.mark.parametrize("text", [r'- "\U0011FFFF"', "- id: !!int", "- !!float"])
def test_what_the_yaml_parser_stumbles_on_is_an_error_of_the_file(text: str) -> None:
    """Anything else would end the gateway's look at its keys."""
    with pytest.raises(KeysError, match=r"^keys\.yaml:1:"):
        parse_keys(text, "keys.yaml")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match=r"missing\.yaml: cannot be read: No such file"):
        load_keys(tmp_path / "missing.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(KeysError, match="is not UTF-8"):
        load_keys(tmp_path / "binary.yaml")
