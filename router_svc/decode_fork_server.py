"""The process from which decoders are forked: it has imported the decoder, holds no secret and serves one router.

It runs with an environment of its own and without the router's descriptors, so that a decoder inherits neither. It
does one thing at a time: `spawn` with the descriptor of a socket answers the process's id, `end` kills and reaps one
and answers its exit status.
"""

import importlib
import os
import signal
import socket
import struct

from router_svc import sandbox
from router_svc.decode_wire import Greeting, send_greeting
from router_svc.decode_worker import DecodeTask, serve, try_sample, warm

READY = b"ready"
SPAWN, END = b"s", b"e"
COMMAND = struct.Struct("!ci")
ANSWER = struct.Struct("!i")
GONE = 1_000
"""Exit status of a process that the fork server does not know."""


def main(control: int, task: str, limits: sandbox.WorkerLimits) -> None:
    """Serves the router at the other end of `control` until it leaves.

    Args:
        control: descriptor of the socket.
        task: `module:function` that decodes.
        limits: of each decoder.
    """
    for each in (signal.SIGINT, signal.SIGTERM):  # a service manager may send it to all processes of the service,
        signal.signal(each, signal.SIG_IGN)  # and the router still finishes what it has begun
    module, _, name = task.partition(":")
    decode: DecodeTask = getattr(importlib.import_module(module), name)
    warm()
    with socket.socket(fileno=control) as router:
        router.sendall(READY)
        while True:
            data, files, _, _ = socket.recv_fds(router, COMMAND.size, 1)
            if len(data) < COMMAND.size:
                return
            command, pid = COMMAND.unpack(data)
            router.sendall(ANSWER.pack(_end(pid) if command == END else _spawn(files[0], decode, limits)))


def _spawn(channel: int, decode: DecodeTask, limits: sandbox.WorkerLimits) -> int:
    """The id of a new decoder, or the error's number, negative."""
    try:
        pid = os.fork()
    except OSError as error:
        os.close(channel)
        return -(error.errno or 1)
    if pid == 0:
        status = 1
        try:
            _become_worker(channel, decode, limits)
            status = 0
        finally:
            os._exit(status)
    os.close(channel)
    return pid


def _become_worker(channel: int, decode: DecodeTask, limits: sandbox.WorkerLimits) -> None:
    with socket.socket(fileno=channel) as router:
        unconfined = sandbox.enter(limits, channel)
        broken = None
        try:
            try_sample()
        except Exception as error:  # whatever it is: the router's log is where it can be read
            broken = repr(error)
        send_greeting(router, Greeting(unconfined=unconfined, broken=broken))
        serve(router, decode)


def _end(pid: int) -> int:
    """Kills and reaps a decoder; its exit status, negative for the signal that ended it."""
    try:
        os.kill(pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except OSError:
        return GONE
