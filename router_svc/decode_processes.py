"""The router's side of its decoder processes: starting the fork server, one decoder each, and the end of them."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from router_svc import decode_fork_server
from router_svc.decode_wire import BrokenReply, DecodeJob, Failure, receive_greeting, receive_reply, send_job
from router_svc.decode_worker import DecodeTask
from router_svc.sandbox import WorkerLimits
from services.media.decode import DecodedVideo

# The fork server's path is set before anything is imported; it gets it and all else as arguments.
_BOOT = """
import json, sys
control, task, limits, sys.path[:] = json.loads(sys.argv[1])
from router_svc.decode_fork_server import main
from router_svc.sandbox import WorkerLimits
main(control, task, WorkerLimits(**limits))
"""
_START_TIMEOUT_S = 60.0
_ANSWER_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 5.0
_KEPT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TZ")


class StartFailed(Exception):
    """No decoder process could be started."""


class NotConfined(StartFailed):
    """The kernel does not confine decoders, and the settings require it."""


class NeverBegan(Exception):
    """The decoder was gone before it got the job."""


class Died(Exception):
    """The decoder ended, or was taken over, while it had the job."""


@dataclass(eq=False)
class Worker:
    """One decoder process.

    Attributes:
        pid: its process id, valid until the fork server has reaped it.
        control: the socket of the fork server that started it; another one does not know it.
        unconfined: why the kernel does not filter its system calls; None where it does.
        jobs: videos that it was given.
        status: exit status once it has ended; negative for a signal, None where it is not known.
    """

    pid: int
    channel: socket.socket
    control: socket.socket
    unconfined: str | None = field(default=None, init=False)
    jobs: int = field(default=0, init=False)
    ended: bool = field(default=False, init=False)
    status: int | None = field(default=None, init=False)
    _asked: threading.Lock = field(default_factory=threading.Lock, init=False)

    def ask(self, job: DecodeJob) -> DecodedVideo | Failure:
        """Lets it decode a video; blocks.

        Raises:
            NeverBegan, Died: as they say.
            OSError: the video's file cannot be opened.
        """
        with self._asked:
            self.jobs += 1
            with job.path.open("rb") as file:
                try:
                    send_job(self.channel, job, file.fileno())
                except OSError as error:
                    raise NeverBegan from error
            try:
                return receive_reply(self.channel, job)
            except ConnectionResetError as error:  # its end was closed with the job still unread
                raise NeverBegan from error
            except (EOFError, OSError, BrokenReply) as error:
                raise Died(str(error)) from error

    def hang_up(self) -> None:
        """Ends an `ask` in another thread at once."""
        try:
            self.channel.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Hangs up and closes the channel once no `ask` reads it: its descriptor's number may be another's at once."""
        self.hang_up()
        with self._asked:
            self.channel.close()


class WorkerFactory:
    """Starts decoders, ends them, and starts its fork server again where that was lost. Blocks; thread-safe.

    Args:
        task: what a decoder does with a video.
        limits: of each decoder.
    """

    def __init__(self, task: DecodeTask, limits: WorkerLimits) -> None:
        self._task = f"{task.__module__}:{task.__qualname__}"
        self._limits = limits
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._stopped = False

    def spawn(self) -> Worker:
        """A new decoder, confined and ready.

        Raises:
            StartFailed: there is none; NotConfined where that is the reason.
        """
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise StartFailed(str(error)) from error
        with theirs:
            try:
                with self._lock:
                    control = self._control or self._start_server()
                    pid = self._command(control, decode_fork_server.SPAWN, 0, theirs.fileno())
            except BaseException as error:
                ours.close()
                if isinstance(error, OSError):
                    raise StartFailed(str(error)) from error
                raise
        if pid < 0:
            ours.close()
            raise StartFailed(os.strerror(-pid))
        worker = Worker(pid, ours, control)
        ours.settimeout(_ANSWER_TIMEOUT_S)
        try:
            greeting = receive_greeting(ours)
        except (OSError, EOFError, ValueError) as error:
            self.end(worker)
            raise StartFailed(f"a decoder ended at its start: {signal_name(worker.status)}") from error
        ours.settimeout(None)
        worker.unconfined = greeting.unconfined
        if greeting.broken is not None:
            self.end(worker)
            raise StartFailed(f"decoders cannot decode: {greeting.broken}")
        if greeting.unconfined is not None and self._limits.confinement == "required":
            self.end(worker)
            raise NotConfined(f"decoders cannot be confined: {greeting.unconfined}")
        return worker

    def end(self, worker: Worker) -> None:
        """Kills and reaps a decoder; `worker.status` says how it ended. A second call does nothing."""
        worker.close()
        with self._lock:
            if worker.ended:
                return
            worker.ended = True
            if worker.control is not self._control:
                return  # it went with its fork server, and its id may be a stranger's by now
            try:
                status = self._command(worker.control, decode_fork_server.END, worker.pid)
            except StartFailed:
                return
            worker.status = None if status == decode_fork_server.GONE else status

    def stop(self) -> None:
        """Ends the fork server, and with it every decoder."""
        with self._lock:
            self._stopped = True
            self._stop_server()

    def _command(self, control: socket.socket, command: bytes, pid: int, *files: int) -> int:
        try:
            socket.send_fds(control, [decode_fork_server.COMMAND.pack(command, pid)], files)
            (answer,) = decode_fork_server.ANSWER.unpack(control.recv(decode_fork_server.ANSWER.size))
        except (OSError, struct.error) as error:
            self._stop_server()
            raise StartFailed("the fork server is gone") from error
        return int(answer)

    def _start_server(self) -> socket.socket:
        if self._stopped:
            raise StartFailed("the decoders are stopped")
        ours, theirs = socket.socketpair()
        self._control = ours
        try:
            with theirs:
                arguments = json.dumps([theirs.fileno(), self._task, asdict(self._limits), sys.path])
                self._server = subprocess.Popen(
                    [sys.executable, "-I", "-c", _BOOT, arguments],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env=_environment(os.environ),
                    start_new_session=True,  # Ctrl-C on a terminal is the router's to hear
                )
            ours.settimeout(_START_TIMEOUT_S)
            ready = ours.recv(len(decode_fork_server.READY))
        except OSError as error:
            self._stop_server()
            raise StartFailed("the fork server did not start") from error
        if ready != decode_fork_server.READY:
            self._stop_server()
            raise StartFailed("the fork server did not start")
        ours.settimeout(_ANSWER_TIMEOUT_S)
        return ours

    def _stop_server(self) -> None:
        control, self._control = self._control, None
        server, self._server = self._server, None
        if control is not None:
            control.close()  # the fork server leaves at that, and its children with it
        if server is not None:
            try:
                server.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def signal_name(status: int | None) -> str:
    """An exit status in words, for a log."""
    if status is None:
        return "unknown"
    return signal.Signals(-status).name if status < 0 else f"exit {status}"


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """What decoders may know: where libraries lie, and that one thread is enough. No token, no database URL."""
    kept = {name: ours[name] for name in _KEPT if name in ours}
    return {**kept, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
