"""A sample of the damaged videos that `make fuzz` sends through the router, and those that once did harm."""

from pathlib import Path

from tests.fuzz.run import fuzz


async def test_damaged_videos_get_a_documented_answer_and_leave_nothing_behind(tmp_path: Path) -> None:
    report = await fuzz(150, first=1_000_000, directory=tmp_path)
    assert report.mutants == 150
    assert report.faults == []
    assert report.before is not None
    assert report.after is not None
    assert report.after.descriptors <= report.before.descriptors + 2  # two uploads may have been in flight
    assert (report.after.spool_files, report.after.decoders, report.after.zombies) == (0, 2, 0)
    assert report.after.rss_mib < report.before.rss_mib + 64
