"""A bank as files: what is written is what is read, and a partial export is never taken for a whole one."""

import base64
import struct
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from services.contracts import SeedCopy, SeedRemoval, SeedRequest, SeedStats
from tests.unit.cli.bank import seed_of
from winnow.bank_files import BankExport, export_in, is_export

NOW = datetime(2026, 11, 3, 12, 30, 1, 250_000, tzinfo=UTC)
SOURCE = "http://one.example:8080"
JPEG = b"\xff\xd8 a frame \xff\xd9"


def copy_of(name: str, *, frames: int = 2, dim: int = 3, vectors: bool = True, **values: Any) -> SeedCopy:
    kind = "text" if values.get("text") else "golden"
    data = values.get("text") or name
    seed = seed_of(SeedRequest(issue="arson", kind=kind, text=values.get("text")), data.encode(), **values)
    floats = struct.pack(f"<{frames * dim}f", *(each + len(name) / 8 for each in range(frames * dim)))
    document = {"encoder": "0123456789abcdef", "dim": dim, "data": base64.b64encode(floats)}
    sent = [] if values.get("text") else [base64.b64encode(JPEG + bytes([each])) for each in range(frames)]
    return SeedCopy.model_validate({"seed": seed, "frames": sent, "vectors": document if vectors else None})


def write(export: BankExport, *parts: list[SeedCopy], finish: bool = True) -> None:
    export.begin(SOURCE)
    for copies in parts:
        for each in copies:
            export.save_frames(each.seed.id, each.frames)
        export.save_part(copies)
    if finish:
        export.finish()


def read(export: BankExport) -> list[SeedCopy]:
    return [export.copy(record) for record in export.records()]


def test_every_field_of_every_seed_comes_back(tmp_path: Path) -> None:
    stats = SeedStats(hits=5, confirmed=2, refuted=1, last_hit_at=NOW)
    removal = SeedRemoval(at=NOW, by="ops", why="wrong")
    copies = [
        copy_of("a", share=0.25, expires_at=NOW, note="[red]\x00", stats=stats, version=7, created_by="key"),
        copy_of("b", vectors=False, state="quarantined", quarantined_why="everywhere", created_at=NOW, updated_at=NOW),
        copy_of("c", text="a burning car", frames=1, dim=5, updated_by="x"),
        copy_of("d", frames=0, vectors=False, state="removed", removed=removal),
        copy_of("e", frames=7, dim=4, start_s=0.1, end_s=0.2, state="paused"),
    ]
    export = BankExport(tmp_path / "new" / "export")
    write(export, copies[:3], copies[3:])
    assert export.whole
    assert export.count() == 5
    assert read(export) == copies
    assert sorted(path.name for path in export.directory.iterdir()) == ["frames", "seeds.parquet"]
    assert export.directory.stat().st_mode & 0o077 == 0


def test_other_tools_read_the_vectors_as_lists_of_numbers(tmp_path: Path) -> None:
    export = BankExport(tmp_path)
    write(export, [copy_of("abcd", frames=2, dim=2), copy_of("ef", vectors=False)])
    table = pq.read_table(tmp_path / "seeds.parquet")
    assert table.column("embedding").to_pylist() == [[[0.5, 1.5], [2.5, 3.5]], None]
    assert table.column("frames").to_pylist() == [2, 2]


def test_a_bank_without_seeds_is_exported(tmp_path: Path) -> None:
    export = BankExport(tmp_path / "export")
    write(export)
    assert (export.count(), read(export)) == (0, [])


def test_an_unfinished_export_is_not_a_whole_one_and_says_what_it_has(tmp_path: Path) -> None:
    copies = [copy_of("a"), copy_of("b", version=3)]
    write(BankExport(tmp_path), copies, finish=False)
    assert not BankExport(tmp_path).whole
    assert not is_export(tmp_path)
    # What a crash left in the midst of a write.
    (tmp_path / "unfinished" / "000001.tmp").write_bytes(b"PAR1 cut off")
    assert BankExport(tmp_path).begin(SOURCE) == {copies[0].seed.id: 1, copies[1].seed.id: 3}


@pytest.mark.parametrize("parts", [(), ([copy_of("a")],)])
def test_an_unfinished_export_goes_on_from_its_own_gateway_alone(tmp_path: Path, parts: tuple[list[SeedCopy]]) -> None:
    write(BankExport(tmp_path), *parts, finish=False)
    with pytest.raises(ValueError, match=f"of http://other.*Name a new directory, or go on with --url {SOURCE}"):
        BankExport(tmp_path).begin("http://other.example:8080")
    assert len(BankExport(tmp_path).begin(SOURCE)) == len(parts)


def test_parts_of_nobody_knows_which_gateway_are_not_gone_on_with(tmp_path: Path) -> None:
    write(BankExport(tmp_path), [copy_of("a")], finish=False)
    (tmp_path / "unfinished" / "source").unlink()
    with pytest.raises(ValueError, match=r"of another gateway, .* Name a new directory\.$"):
        BankExport(tmp_path).begin(SOURCE)


def test_a_seed_that_was_saved_twice_counts_as_in_the_later_part(tmp_path: Path) -> None:
    old, new = copy_of("a", version=1, note="old"), copy_of("a", version=2, note="new")
    export = BankExport(tmp_path)
    write(export, [old, copy_of("b")], [new])
    assert sorted((each.seed.note, each.seed.version) for each in read(export)) == [("", 1), ("new", 2)]


def test_a_whole_export_is_not_written_over(tmp_path: Path) -> None:
    write(BankExport(tmp_path), [copy_of("a")])
    with pytest.raises(ValueError, match="holds a whole export already"):
        BankExport(tmp_path).begin(SOURCE)
    assert is_export(tmp_path)
    assert export_in(tmp_path / "seeds.parquet").count() == 1


def test_a_missing_frame_is_an_error_of_its_seed(tmp_path: Path) -> None:
    export, copies = BankExport(tmp_path), [copy_of("a"), copy_of("b")]
    write(export, copies)
    (tmp_path / "frames" / copies[0].seed.id / "1.jpg").unlink()
    first, second = export.records()
    with pytest.raises(FileNotFoundError, match=r"1\.jpg"):
        export.copy(first)
    assert export.copy(second) == copies[1]


def test_an_id_that_leads_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    export = BankExport(tmp_path)
    write(export, [copy_of("a")])
    record = next(export.records())
    with pytest.raises(ValidationError, match="id"):
        export.copy({**record, "id": "../../etc"})


def test_what_is_not_an_exported_bank_is_told(tmp_path: Path) -> None:
    path = tmp_path / "seeds.parquet"
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match="is not a Parquet file"):
        export_in(tmp_path).count()
    pq.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(ValueError, match="no column confirmed, created_at"):
        export_in(tmp_path).count()


def test_without_pyarrow_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # None makes the import fail, as where it is not installed.
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ModuleNotFoundError, match=r"winnow-moderation\[bank\]"):
        BankExport(tmp_path)
