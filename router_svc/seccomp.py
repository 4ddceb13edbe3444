"""The system calls that a decoder may make, as a seccomp filter: the program, and its installation in this process."""

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2  # linux/prctl.h, linux/seccomp.h
_LOAD, _RETURN = 0x20, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_RET|BPF_K
_EQUAL, _GREATER, _ANY_BIT = 0x15, 0x25, 0x45  # BPF_JMP|BPF_K with BPF_JEQ, BPF_JGT, BPF_JSET
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_PROT_EXEC = 4

# The worker reads the descriptor that it was given, computes, answers on its socket and dies. Each has x86-64's number
# and arm64's; None where an architecture does not have the call.
_ALLOWED: Mapping[str, tuple[int | None, int | None]] = {
    # the video's file, the socket to the router
    "read": (0, 63),
    "readv": (19, 65),
    "pread64": (17, 67),
    "lseek": (8, 62),
    "fstat": (5, 80),
    "newfstatat": (262, 79),  # what glibc calls for fstat
    "close": (3, 57),
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "recvmsg": (47, 212),
    "poll": (7, None),
    "ppoll": (271, 73),
    # /dev/null, which stands for the standard streams
    "write": (1, 64),
    "writev": (20, 66),
    # memory
    "munmap": (11, 215),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "brk": (12, 214),
    # time, and the limit of CPU time of each video
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "setitimer": (38, 103),
    "getrusage": (98, 165),
    # the process itself
    "futex": (202, 98),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "getcpu": (309, 168),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getrandom": (318, 278),
    "rseq": (334, 293),
    "membarrier": (324, 283),
    "sysinfo": (99, 179),
    "sigaltstack": (131, 132),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "restart_syscall": (219, 128),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
_NEWEST = 470  # a call behind this may be new to a later libc, which then falls back where it is told ENOSYS


@dataclass(frozen=True, slots=True)
class _Machine:
    """An architecture: its place in the table above, its audit number, and the calls that are checked further."""

    column: int
    audit: int
    mmap: int
    mprotect: int
    tgkill: int


_MACHINES = {
    "x86_64": _Machine(column=0, audit=0xC000003E, mmap=9, mprotect=10, tgkill=234),
    "aarch64": _Machine(column=1, audit=0xC00000B7, mmap=222, mprotect=226, tgkill=131),
}


def decoder_filter(machine: str, pid: int) -> bytes:
    """The BPF program (struct sock_filter, 8 bytes each) for a decoder process.

    What is not in the table fails with EPERM, x86's other system call tables included. Memory is never made
    executable; a signal reaches the process itself alone.

    Args:
        machine: as `platform.machine()` names it; a key of the architectures that are known.
        pid: of the process.

    Raises:
        KeyError: the architecture is not known.
    """
    arch = _MACHINES[machine]
    refused = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    allowed = (_RETURN, 0, 0, _ALLOW)
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, arch.audit),
        refused,
        (_LOAD, 0, 0, _NUMBER),
        (_GREATER, 0, 1, _NEWEST),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),  # x32, whose numbers begin at 2**30, ends here too
    ]
    for numbers in _ALLOWED.values():
        number = numbers[arch.column]
        if number is not None:
            program += [(_EQUAL, 0, 1, number), allowed]
    for number in (arch.mmap, arch.mprotect):
        program += [(_EQUAL, 0, 4, number), _argument(2), (_ANY_BIT, 0, 1, _PROT_EXEC), refused, allowed]
    program += [(_EQUAL, 0, 4, arch.tgkill), _argument(0), (_EQUAL, 0, 1, pid), allowed, refused]
    program.append(refused)
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def install_decoder_filter() -> str | None:
    """Confines this process, which must have one thread, for good. Needs no privilege.

    Returns:
        None where the kernel enforces the filter from now on, else the reason why it does not.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _MACHINES:
        return f"no filter for {sys.platform} on {machine}"
    code = decoder_filter(machine, os.getpid())
    libc = ctypes.CDLL(None, use_errno=True)
    instructions = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.cast(instructions, ctypes.c_void_p))
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)),
        (_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(program)),
    ):
        if libc.prctl(*arguments) != 0:
            return f"the kernel refuses: {os.strerror(ctypes.get_errno())}"
    return None


class _Program(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _argument(index: int) -> tuple[int, int, int, int]:
    """Loads the low 32 bits of a call's argument; both architectures are little-endian."""
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index)
