"""The spool: bookings, its disk, and the one process that owns it."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gateway.spool
from gateway.spool import Spool
from services.errors import StorageFull
from services.web import SpoolBusy, hold_spool

TAKE = "import sys, pathlib; from services.web import hold_spool; hold_spool(pathlib.Path(sys.argv[1]))"


async def test_bookings_are_bounded_together_and_given_back(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=100, min_free_bytes=0)
    async with spool.held():
        with spool.booking(60):
            assert spool.booked_bytes == 60
            with pytest.raises(StorageFull), spool.booking(41):
                pass
            with spool.booking(40):
                assert spool.booked_bytes == 100
        assert spool.booked_bytes == 0


async def test_the_disk_keeps_its_free_space(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=100, min_free_bytes=2**60)
    async with spool.held():
        with pytest.raises(StorageFull), spool.booking(1):
            pass


async def test_the_spool_starts_empty(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", max_bytes=1, min_free_bytes=0)
    async with spool.held() as removed:
        assert removed == 0
    (tmp_path / "spool" / "upload-old").write_bytes(b"left")
    async with spool.held() as removed:
        assert removed == 1
        assert list((tmp_path / "spool").iterdir()) == []


async def test_what_is_written_is_not_counted_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [160]
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free[0]))
    monkeypatch.setattr(gateway.spool, "MEASURE_EVERY_S", 0.01)
    spool = Spool(tmp_path, max_bytes=1_000, min_free_bytes=10)
    async with spool.held():
        with spool.booking(90):
            with pytest.raises(StorageFull), spool.booking(61):
                pass
            (tmp_path / "upload").write_bytes(b"x" * 90)
            free[0] = 70
            await asyncio.sleep(0.1)
            with pytest.raises(StorageFull), spool.booking(61):
                pass
            with spool.booking(60):
                assert spool.booked_bytes == 150


async def test_a_disk_that_others_fill_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [1_000]
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free[0]))
    monkeypatch.setattr(gateway.spool, "MEASURE_EVERY_S", 0.01)
    spool = Spool(tmp_path, max_bytes=1_000, min_free_bytes=10)
    async with spool.held():
        with spool.booking(500):
            pass
        free[0] = 100
        await asyncio.sleep(0.1)
        with pytest.raises(StorageFull), spool.booking(500):
            pass


def test_a_second_process_is_refused_and_takes_no_file(tmp_path: Path) -> None:
    held = hold_spool(tmp_path)
    (tmp_path / "upload-in-flight").write_bytes(b"a video")
    second = subprocess.run([sys.executable, "-c", TAKE, tmp_path], capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert f"SpoolBusy: the spool {tmp_path} is used by another process" in second.stderr
    assert (tmp_path / "upload-in-flight").read_bytes() == b"a video"
    held.release()
    subprocess.run([sys.executable, "-c", TAKE, tmp_path], check=True)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_ends_lets_go(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", TAKE + "; import os; os._exit(9)", tmp_path], check=False)
    hold_spool(tmp_path).release()


def test_one_process_cannot_take_it_twice(tmp_path: Path) -> None:
    held = hold_spool(tmp_path)
    with pytest.raises(SpoolBusy):
        hold_spool(tmp_path)
    held.release()
    held.release()
