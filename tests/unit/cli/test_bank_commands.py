"""`winnow seeds` about the bank as a whole, against a bank behind a real HTTP server."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import winnow.seed_import
from services.contracts import Seed, SeedRemoval, SeedRequest, SeedStats
from services.errors import Forbidden, NotReady, Overloaded
from tests.unit.cli.bank import Bank, busy, seed_of
from tests.unit.cli.test_bank_files import copy_of
from winnow.cli import app

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["seeds", *arguments])


def said(result: Result) -> str:
    return " ".join(result.output.split())


def sent_notes(bank: Bank) -> list[str]:
    return sorted(each.note for each in bank.sent)


def filled(bank: Bank, directory: Path) -> list[Seed]:
    """A bank with two seeds, one of a sentence, and the tombstone of another."""
    removal = SeedRemoval(at=NOW, by="ops", why="wrong")
    copies = [
        copy_of("a", stats=SeedStats(hits=4), version=3),
        copy_of("b", text="a burning car", frames=1),
        copy_of("c", frames=0, vectors=False, state="removed", removed=removal),
    ]
    directory.mkdir(exist_ok=True)
    return [bank.keep(each.seed, each.model_dump(mode="json", exclude={"seed"})) for each in copies]


def test_the_seeds_of_a_manifest_are_imported(gateway: Bank, seeds: Path) -> None:
    with (seeds / "manifest.jsonl").open("a", encoding="utf-8") as manifest:
        manifest.write('{"text": "a burning car", "issue": "arson", "share": 0.5, "note": "try"}\n')
    result = run("import", str(seeds))
    assert result.exit_code == 0, result.output
    assert "3 seeds added, 0 were in the bank already, 0 failed." in said(result)
    assert sent_notes(gateway) == ["a.mp4", "b.mp4", "try"]
    assert (gateway.seeds["try"].kind, gateway.seeds["try"].share) == ("text", 0.5)
    assert (gateway.seeds["a.mp4"].start_s, gateway.seeds["a.mp4"].end_s) == (0.5, 2.0)
    again = json.loads(run("import", str(seeds / "manifest.jsonl"), "--json").stdout)
    assert again == {"added": 0, "had": 3, "skipped": 0, "failed": []}


def test_a_row_that_fails_does_not_stop_the_others_and_alone_is_sent_again(gateway: Bank, seeds: Path) -> None:
    gateway.refused = "smoking"
    with (seeds / "manifest.jsonl").open("a", encoding="utf-8") as manifest:
        manifest.write('{"path": "[red]gone.mp4", "issue": "theft"}\n')
    result = run("import", str(seeds))
    assert result.exit_code == 1
    assert "1 seeds added, 0 were in the bank already, 2 failed." in said(result)
    assert "b.mp4 refused" in said(result)
    assert "[red]gone.mp4" in said(result)
    gateway.refused, gateway.sent = "", []
    (seeds / "[red]gone.mp4").write_bytes(b"back")
    again = json.loads(run("import", str(seeds), "--json").stdout)
    assert again == {"added": 2, "had": 0, "skipped": 1, "failed": []}
    assert sent_notes(gateway) == ["[red]gone.mp4", "b.mp4"]
    # Nothing is left to be done: the next import is a new one.
    assert json.loads(run("import", str(seeds), "--json").stdout)["had"] == 3


def test_a_file_that_changed_is_sent_again_and_so_is_everything_where_that_is_asked(gateway: Bank, seeds: Path) -> None:
    gateway.refused = "smoking"
    assert run("import", str(seeds)).exit_code == 1
    (seeds / "a.mp4").write_bytes(b"another video")
    gateway.sent = []
    assert json.loads(run("import", str(seeds), "--json").stdout)["added"] == 1
    assert json.loads(run("import", str(seeds), "--json").stdout)["skipped"] == 1
    assert json.loads(run("import", str(seeds), "--json", "--anew").stdout)["skipped"] == 0
    assert sent_notes(gateway) == ["a.mp4", "a.mp4", "b.mp4", "b.mp4", "b.mp4"]


def test_an_import_that_is_interrupted_goes_on_where_it_was(
    gateway: Bank, seeds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One after another, so that the first is done when the second one is interrupted.
    monkeypatch.setattr(winnow.seed_import, "AT_ONCE", 1)
    monkeypatch.setattr(gateway, "interrupt", "smoking")
    result = run("import", str(seeds))
    assert result.exit_code == 130, result.output
    assert "run the same command again to go on" in said(result)
    assert "1 seeds added" in said(result)
    monkeypatch.setattr(gateway, "interrupt", "")
    assert json.loads(run("import", str(seeds), "--json").stdout)["skipped"] == 1


def test_a_busy_service_is_waited_for(gateway: Bank, seeds: Path) -> None:
    gateway.fail_in_add = [*busy(2), Overloaded("Full.", retry_after_s=0)]
    result = run("import", str(seeds))
    assert (result.exit_code, "2 seeds added" in said(result)) == (0, True), result.output


def test_what_every_seed_would_meet_ends_the_import(
    gateway: Bank, seeds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One after another: a call that is under way when the first one fails may arrive after the import has ended.
    monkeypatch.setattr(winnow.seed_import, "AT_ONCE", 1)
    gateway.fail_in_add = [Forbidden("Not this scope.")] * 9
    result = run("import", str(seeds))
    assert (result.exit_code, "scope `seeds`" in said(result)) == (1, True)
    assert "failed" not in said(result)
    gateway.fail_next = [NotReady("Down.")]
    gateway.sent = []
    assert "winnow up" in said(run("import", str(seeds)))
    assert gateway.sent == []


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "m.jsonl",
            '{"path": "a", "issue": "x"}\n\n{"path": "a"}\n{',
            "line 3: issue: Field required; line 4: Invalid",
        ),
        ("m.jsonl", '{"path": "a", "text": "b", "issue": "x"}', "line 1: Value error, a row has a path or a text"),
        ("m.jsonl", '{"path": "a", "issue": "x", "start_s": 2, "end_s": 1}', "end_s must be greater than start_s"),
        (
            "m.jsonl",
            '{"path": "a", "issue": "x"}\n{"path": "b\\u0000", "issue": "x"}',
            "line 2: Value error, a path has no",
        ),
        ("m.csv", "path,issue,nonsense\na,x,\nb,x,y\n", "line 3: nonsense: Extra inputs"),
        ("m.csv", "path,issue\na,x,more\n", "line 2: a cell beyond the header's: Extra inputs"),
        ("m.csv", "path,issue\n", "names no seed"),
        ("m.csv", 'path,issue\n"a,x', "cannot be read: unexpected end of data"),
    ],
)
def test_a_manifest_that_is_wrong_is_told_with_its_lines_and_nothing_is_sent(
    gateway: Bank, tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    result = run("import", str(tmp_path / name))
    assert (result.exit_code, message in said(result)) == (1, True), result.output
    assert gateway.asked == []
    assert "holds neither manifest.jsonl nor manifest.csv" in said(run("import", str(tmp_path)))


def test_a_manifest_may_be_csv(gateway: Bank, seeds: Path) -> None:
    (seeds / "manifest.jsonl").unlink()
    rows = "path,issue,kind,start_s,share,expires_at,text\na.mp4,arson,negative,0.5,0.25,2027-01-01T00:00Z,\n"
    (seeds / "manifest.csv").write_text(f"\ufeff{rows},arson,,,,,a burning car\n", encoding="utf-8")
    assert run("import", str(seeds)).exit_code == 0
    video, sentence = sorted(gateway.sent, key=lambda each: each.kind)
    assert (video.kind, video.start_s, video.share) == ("negative", 0.5, 0.25)
    assert video.expires_at == datetime(2027, 1, 1, tzinfo=UTC)
    assert sentence.text == "a burning car"


def test_a_bank_is_exported_and_restored_whole(gateway: Bank, tmp_path: Path) -> None:
    kept = filled(gateway, tmp_path)
    result = run("export", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert "3 seeds are in" in said(result)
    originals = dict(gateway.copies)
    gateway.records, gateway.copies = {}, {}
    restored = run("import", str(tmp_path / "out"))
    assert (restored.exit_code, "3 seeds added" in said(restored)) == (0, True), restored.output
    assert {each.seed.id: each for each in gateway.restored} == originals
    assert {each.id for each in kept} == set(gateway.records)
    again = json.loads(run("import", str(tmp_path / "out" / "seeds.parquet"), "--json").stdout)
    assert again == {"added": 0, "had": 3, "skipped": 0, "failed": []}


def test_an_export_goes_on_where_it_was_and_is_not_whole_before(gateway: Bank, tmp_path: Path) -> None:
    kept = filled(gateway, tmp_path)
    out = tmp_path / "out"
    # The page of removed seeds comes last.
    gateway.fail_in_copy = {kept[2].id: Forbidden("Not this scope.")}
    first = run("export", str(out))
    assert (first.exit_code, "scope `seeds`" in said(first)) == (1, True)
    assert not (out / "seeds.parquet").exists()
    assert "holds neither manifest.jsonl" in said(run("import", str(out)))
    gateway.fail_in_copy = {}
    gateway.records[kept[0].id] = kept[0].model_copy(update={"version": 4, "note": "changed meanwhile"})
    gateway.asked = []
    assert run("export", str(out)).exit_code == 0
    copied = [path.split("/")[3] for _, path in gateway.asked if path.endswith("/copy")]
    assert copied == [kept[0].id, kept[2].id]
    run("import", str(out))
    assert {each.seed.note for each in gateway.restored} == {"changed meanwhile", ""}
    full = run("export", str(out))
    assert (full.exit_code, "holds a whole export already" in said(full)) == (1, True)


def test_an_export_does_not_go_on_with_another_bank(
    gateway: Bank, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = filled(gateway, tmp_path)
    gateway.fail_in_copy = {kept[2].id: Forbidden("Not this scope.")}
    port = server.rpartition(":")[2]
    assert run("export", str(tmp_path / "out"), "--url", f"http://user:hunter2@localhost:{port}").exit_code == 1
    gateway.fail_in_copy = {}
    other = run("export", str(tmp_path / "out"))
    assert (other.exit_code, f"go on with --url http://localhost:{port}." in said(other)) == (1, True), other.output
    assert run("export", str(tmp_path / "out"), "--url", f"http://localhost:{port}").exit_code == 0


def test_a_seed_that_cannot_be_copied_is_told_and_the_others_are_exported(gateway: Bank, tmp_path: Path) -> None:
    kept = filled(gateway, tmp_path)
    del gateway.copies[kept[0].id]
    result = run("export", str(tmp_path / "out"), "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert (document["seeds"], [each["seed"] for each in document["failed"]]) == (2, [kept[0].id])


def test_a_seed_of_an_export_that_is_broken_fails_alone(gateway: Bank, tmp_path: Path) -> None:
    kept = filled(gateway, tmp_path)
    assert run("export", str(tmp_path / "out")).exit_code == 0
    (tmp_path / "out" / "frames" / kept[0].id / "0.jpg").unlink()
    gateway.records = {}
    result = json.loads(run("import", str(tmp_path / "out"), "--json").stdout)
    assert (result["added"], [each["seed"] for each in result["failed"]]) == (2, [kept[0].id])
    assert "0.jpg: The file cannot be used" in result["failed"][0]["why"]


def test_stats_show_what_is_hit_refuted_and_quarantined(gateway: Bank) -> None:
    for each in range(12):
        stats = SeedStats(hits=each, refuted=each % 3)
        gateway.keep(seed_of(SeedRequest(issue="arson"), b"%d" % each, stats=stats))
    why = "matches 9 % of the traffic"
    bad = gateway.keep(seed_of(SeedRequest(issue="theft"), b"x", state="quarantined", quarantined_why=why))
    result = run("stats")
    assert result.exit_code == 0, result.output
    assert f"{bad.id[:12]} theft 0 0 0 {why}" in said(result)
    document = json.loads(run("stats", "--json").stdout)
    assert document["issues"] == {"theft": {"quarantined": 1}, "arson": {"active": 12}}
    assert [each["stats"]["hits"] for each in document["most_hits"]] == list(range(11, 1, -1))
    assert [each["stats"]["refuted"] for each in document["most_refuted"]] == [2, 2, 2, 2, 1, 1, 1, 1]
    assert [each["id"] for each in document["quarantined"]] == [bad.id]
    assert document["bank"]["states"]["active"] == 12


def test_select_says_what_to_install_where_the_lab_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "offline.selection.command", None)
    result = run("select", "--out", "x")
    assert (result.exit_code, "winnow-moderation[offline]" in said(result)) == (1, True)
