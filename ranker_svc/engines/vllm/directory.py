"""A directory of one engine's own for the sockets and temporary files of vLLM's processes."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ranker_svc.engines.protocol import EngineStartError

SOCKETS = "VLLM_RPC_BASE_PATH"
"""vLLM's environment variable: directory of the sockets between its processes."""
LONGEST_SOCKET = 107
"""Bytes of a Unix socket's path that the system takes."""
SOCKET_NAME = 1 + 36
"""Of them a slash and vLLM's name for a socket, a UUID."""


def private_directory() -> "tempfile.TemporaryDirectory[str]":
    """A directory for the files of one engine's processes: where the operator wants vLLM's sockets, or a temporary one.

    Raises:
        EngineStartError: none can be made, or its path leaves no room for a socket's name.
    """
    try:
        directory = tempfile.TemporaryDirectory(prefix="vllm-", dir=os.environ.get(SOCKETS), ignore_cleanup_errors=True)
    except OSError as error:
        raise EngineStartError(f"there is no directory for the sockets of vLLM's processes: {error}") from error
    if len(os.fsencode(directory.name)) + SOCKET_NAME > LONGEST_SOCKET:
        directory.cleanup()
        raise EngineStartError(f"the path {directory.name} is too long for sockets: set TMPDIR or {SOCKETS}")
    return directory


@contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the block, and for the processes that it starts."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
