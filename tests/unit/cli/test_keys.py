"""`winnow keys`: a key is shown once, its hash is kept, and a file is changed whole or not at all."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from typer.testing import CliRunner

from services.api_keys import digest_of, load_keys, parse_keys
from winnow.cli import app


def keys(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["keys", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_new_key_is_printed_once_and_its_hash_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.yaml"
    code, first, said = keys("new", "--id", "backend", "--scope", "decide", "--file", str(path))
    assert code == 0, said
    code, second, _ = keys("new", "--id", "on", "--expires", "2030-01-31", "--file", str(path))
    assert code == 0
    found = load_keys(path).keys
    assert [each.sha256 for each in found] == [digest_of(first.strip()), digest_of(second.strip())]
    assert [each.id for each in found] == ["backend", "on"]
    assert [each.scopes for each in found] == [("decide",), ("decide", "read")]
    assert str(found[1].expires) == "2030-01-31 00:00:00+00:00"
    assert first.strip() not in path.read_text(encoding="utf-8") + said
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["keys.yaml"]


def test_without_a_file_the_entry_is_printed_too() -> None:
    code, out, _ = keys("new", "--id", "a", "--scope", "read")
    key, _, entry = out.partition("\n\n")
    assert code == 0
    assert [each.sha256 for each in parse_keys(entry, "keys.yaml").keys] == [digest_of(key)]


def test_a_file_written_by_hand_is_kept_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    before = f"# ours\n- id: a\n  sha256: {'a' * 64}\n  scopes: [read]  # for now"
    path.write_text(before, encoding="utf-8")
    path.chmod(0o644)
    assert keys("new", "--id", "b", "--file", str(path))[0] == 0
    assert path.read_text(encoding="utf-8").startswith(before + "\n- id: ")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no second file system")
def test_a_link_into_another_file_system_stays_one(tmp_path: Path) -> None:
    with TemporaryDirectory(dir="/dev/shm") as elsewhere:
        path, linked = tmp_path / "keys.yaml", Path(elsewhere) / "keys.yaml"
        keys("new", "--id", "a", "--file", str(linked))
        path.symlink_to(linked)
        code, _, said = keys("new", "--id", "b", "--file", str(path))
        assert code == 0, said
        assert path.is_symlink()
        assert [each.id for each in load_keys(linked).keys] == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--id", "a"], "[1].id: the same as that of entry 0"),
        (["--id", "a b"], "id: "),
        (["--id", "b", "--scope", "fly"], "scopes/0: "),
        (["--id", "b", "--expires", "soon"], "expires: "),
    ],
)
def test_what_cannot_be_added_leaves_the_file_alone(tmp_path: Path, arguments: list[str], said: str) -> None:
    path = tmp_path / "keys.yaml"
    assert keys("new", "--id", "a", "--file", str(path))[0] == 0
    before = path.read_bytes()
    code, out, errors = keys("new", *arguments, "--file", str(path))
    assert (code, out) == (1, "")
    assert said in errors
    assert path.read_bytes() == before


def test_a_broken_file_and_one_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "keys.yaml"
    broken.write_text("keys: []", encoding="utf-8")
    assert "keys.yaml:1:1: must be a list" in keys("new", "--id", "a", "--file", str(broken))[2]
    assert "keys.yaml:1:1: must be a list" in keys("list", "--file", str(broken))[2]
    assert "cannot be written" in keys("new", "--id", "a", "--file", "/proc/nothing/keys.yaml")[2]


def test_the_list_shows_who_and_until_when_and_no_hash(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    keys("new", "--id", "backend", "--file", str(path))
    keys("new", "--id", "old", "--expires", "2020-01-01", "--file", str(path))
    code, out, _ = keys("list", "--file", str(path))
    assert code == 0
    assert "backend" in out
    assert "decide, read" in out
    assert "never" in out
    assert "(expired)" in out
    assert not any(each.sha256 in out for each in load_keys(path).keys)
