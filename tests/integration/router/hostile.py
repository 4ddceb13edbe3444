"""What hostile files do to a decoder, as a function that the fork server can import."""

import ctypes
import itertools
import mmap
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from router_svc.decode_wire import DecodeJob
from router_svc.decode_worker import decode_task
from services.media.decode import DecodedVideo

LIBC = ctypes.CDLL(None, use_errno=True)


def by_content(file: BinaryIO, job: DecodeJob) -> DecodedVideo:
    """Obeys a file that begins with a command; decodes any other."""
    command = file.read(8)
    file.seek(0)
    match command:
        case b"DIE-----":
            os._exit(139)
        case b"SEGV----":
            ctypes.string_at(0)
        case b"ABORT---":
            os.abort()
        case b"KILL----":
            time.sleep(0.1)
            signal.pthread_kill(threading.get_ident(), signal.SIGKILL)
        case b"GARBAGE-":
            for descriptor in range(3, 16):
                with suppress(OSError):
                    os.write(descriptor, b"\xff" * 64)
            time.sleep(60)
        case b"WORK----":
            until = time.process_time() + 0.6
            while time.process_time() < until:
                burn()
            raise KeyError("worked")
        case b"HANG----":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(60)
        case b"SPIN----":
            while True:
                burn()
        case b"SLOW----":
            time.sleep(0.5)
            raise KeyError("slow and then wrong")
        case b"EAT-----":
            raise MemoryError(len(bytearray(8 * 1024**3)))
        case b"RAISE---":
            raise KeyError("a bug of the decoder")
        case b"TRY-----":
            attempt, _, argument = file.read()[8:].decode().partition(" ")
            raise KeyError(str(ATTEMPTS[attempt](argument)))
    return decode_task(file, job)


def _call(name: str, *arguments: int) -> None:
    """A call of libc; raises as Python's own would."""
    if LIBC[name](*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)


def _connect(family: socket.AddressFamily, kind: socket.SocketKind, address: object) -> None:
    with socket.socket(family, kind) as channel:
        channel.connect(address)


def _open_descriptors(_: str) -> list[int]:
    return [descriptor for descriptor in range(1_000) if _is_open(descriptor)]


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _environment(_: str) -> list[str]:
    """The names that Python and the C library know."""
    block = ctypes.POINTER(ctypes.c_char_p).in_dll(LIBC, "environ")
    raw = list(itertools.takewhile(bool, (block[i] for i in itertools.count()))) if block else []
    return sorted({*os.environ, *(each.decode().partition("=")[0] for each in raw)})


def _start_thread(_: str) -> None:
    thread = threading.Thread(target=burn)
    thread.start()
    thread.join()


ATTEMPTS: dict[str, Callable[[str], object]] = {
    "tcp4": lambda _: _connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 9)),
    "tcp6": lambda _: _connect(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 9)),
    "udp": lambda _: _connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 9)),
    "unix": lambda _: _connect(socket.AF_UNIX, socket.SOCK_STREAM, "/run/any"),
    "netlink": lambda _: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "socketpair": lambda _: socket.socketpair(),
    "exec": lambda _: os.execv("/bin/true", ["true"]),
    "fork": lambda _: os.fork(),
    "thread": _start_thread,
    "read": lambda path: Path(path).read_bytes(),
    "write": lambda path: Path(path).write_bytes(b"x"),
    "list": lambda path: list(Path(path).iterdir()),
    "unlink": lambda path: Path(path).unlink(),
    "chmod": lambda path: Path(path).chmod(0o777),
    "kill": lambda _: os.kill(os.getppid(), 0),
    "raise_limit": lambda _: resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1)),
    "memfd": lambda _: os.memfd_create("x"),
    "executable": lambda _: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
    "ptrace": lambda _: _call("ptrace", 16, os.getppid(), 0, 0),
    "process_vm_readv": lambda _: _call("process_vm_readv", os.getppid(), 0, 0, 0, 0, 0),
    "unshare": lambda _: _call("unshare", 0x10000000),
    "io_uring": lambda _: _call("syscall", 425, 1, 0),
    "bpf": lambda _: _call("syscall", 321, 0, 0, 0),
    "other_process": lambda _: _call("syscall", 234, os.getppid(), os.getppid(), 0),
    "descriptors": _open_descriptors,
    "environment": _environment,
    "modules": lambda _: sorted({"torch", "fastapi", "qdrant_client", "open_clip"} & set(sys.modules)),
}


def burn() -> int:
    """Burns CPU."""
    return sum(range(10_000))
