"""What a file that has taken its decoder over can reach: nothing. Every attempt is made in a real decoder process."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from router_svc.decode_processes import NotConfined, Worker, WorkerFactory
from router_svc.decode_wire import DecodeJob, Failure
from router_svc.sandbox import WorkerLimits
from services.media import MediaLimits, SamplingPlan
from services.media.decode import DecodedVideo
from tests.integration.router.conftest import StandInRanker, make_parts, make_settings, running
from tests.integration.router.hostile import by_content

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")

LIMITS = WorkerLimits(memory_bytes=2 * 1024**3, nice=3)


@pytest.fixture(scope="module")
def factory() -> Iterator[WorkerFactory]:
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as listening:
        listening.set_inheritable(True)
        patch.setenv("WINNOW_ROUTER_SERVICE_TOKEN", "secret")
        patch.setenv("DATABASE_URL", "secret")
        made = WorkerFactory(by_content, LIMITS)
        worker = made.spawn()
        made.end(worker)
        yield made
        made.stop()


@pytest.fixture
def worker(factory: WorkerFactory) -> Iterator[Worker]:
    worker = factory.spawn()
    yield worker
    factory.end(worker)


def ask(worker: Worker, path: Path) -> DecodedVideo | Failure:
    return worker.ask(DecodeJob(path=path, plan=SamplingPlan(), short_side=64, limits=MediaLimits(), cpu_s=10.0))


def attempt(worker: Worker, directory: Path, what: str) -> str:
    path = directory / "upload"
    path.write_text(f"TRY-----{what}")
    answer = ask(worker, path)
    assert isinstance(answer, Failure)
    assert answer.cause is not None
    return answer.cause


@pytest.mark.parametrize(
    "what",
    [
        *("tcp4", "tcp6", "udp", "unix", "netlink", "socketpair"),
        *("exec", "fork", "kill", "ptrace", "process_vm_readv", "unshare", "io_uring", "bpf"),
        *("read /etc/shadow", "read /proc/self/environ", "list /", "write /dev/null", "chmod /tmp"),
        *("raise_limit", "memfd", "executable", "other_process"),
    ],
)
def test_the_kernel_refuses(worker: Worker, tmp_path: Path, clips: dict[str, Path], what: str) -> None:
    refusals = ("PermissionError: [Errno 1]", "OSError: [Errno 1]", "ValueError: not allowed to raise maximum limit")
    assert attempt(worker, tmp_path, what).startswith(refusals)
    assert isinstance(ask(worker, clips["red"]), DecodedVideo)


def test_no_threads(worker: Worker, tmp_path: Path) -> None:
    assert "start new thread" in attempt(worker, tmp_path, "thread")


@pytest.mark.parametrize("what", ["read", "write", "unlink"])
def test_the_uploads_of_others_are_out_of_reach(worker: Worker, tmp_path: Path, what: str) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"a video of somebody else")
    assert "Operation not permitted" in attempt(worker, tmp_path, f"{what} {other}")
    assert other.read_bytes() == b"a video of somebody else"


def test_nothing_is_inherited(worker: Worker, tmp_path: Path) -> None:
    descriptors = attempt(worker, tmp_path, "descriptors")
    assert descriptors.count(",") + 1 == 5  # three to /dev/null, the socket to the router, the video
    assert attempt(worker, tmp_path, "environment") == "KeyError: '[]'"
    assert attempt(worker, tmp_path, "modules") == "KeyError: '[]'"


def test_decoders_are_nicer_than_the_service(worker: Worker) -> None:
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, worker.pid) == min(19, ours + LIMITS.nice)


def test_the_fork_server_knows_no_secret_either(factory: WorkerFactory) -> None:
    assert factory._server is not None
    environment = Path(f"/proc/{factory._server.pid}/environ").read_text()
    assert "OMP_NUM_THREADS" in environment
    assert "secret" not in environment


def test_confinement_can_be_switched_off(tmp_path: Path) -> None:
    factory = WorkerFactory(by_content, WorkerLimits(memory_bytes=2 * 1024**3, confinement="off"))
    try:
        worker = factory.spawn()
        assert worker.unconfined == "switched off"
        assert "root" in attempt(worker, tmp_path, "read /etc/passwd")
    finally:
        factory.stop()
        worker.channel.close()


async def test_required_and_impossible_refuses_to_start(tmp_path: Path, ranker: StandInRanker) -> None:
    parts = make_parts(ranker, decode=without_filter)
    with pytest.raises(NotConfined, match="cannot be confined"):
        async with running(make_settings(tmp_path, decode_confinement="required"), parts):
            pass


async def test_preferred_and_impossible_warns(
    tmp_path: Path, ranker: StandInRanker, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker, decode=without_filter)):
        assert "decoders are not confined" in caplog.text


def without_filter(file: BinaryIO, job: DecodeJob) -> DecodedVideo:
    """Names the task of a module that this process must not import."""
    raise NotImplementedError


without_filter.__module__, without_filter.__qualname__ = "tests.integration.router.no_filter", "decode_task"
