"""What vLLM runs in each of its processes before it loads a model (entry point `vllm.general_plugins`)."""

import atexit
import contextlib
import logging
import multiprocessing
import os
import threading
from pathlib import Path
from typing import Any

from services.telemetry import logs

CHILD_LOG_LEVEL = "WINNOW_VLLM_CHILD_LOG_LEVEL"
"""Environment variable by which a ranker tells the processes of its engine that they are its own, and how to log."""
CHILD_ERROR_FILE = "WINNOW_VLLM_CHILD_ERROR_FILE"
"""Environment variable: a file for the first error of these processes, in one line; it does not exist yet."""


def register() -> None:
    """In a child process of a ranker: log as the ranker does, end fast, and end when the ranker has died.

    In other processes it does nothing.
    """
    parent = multiprocessing.parent_process()
    level = os.environ.get(CHILD_LOG_LEVEL)
    if parent is None or level is None:
        return
    logs.configure("ranker", level)
    if file := os.environ.get(CHILD_ERROR_FILE):
        logging.getLogger().addHandler(_FirstError(Path(file)))
    # What was registered first runs last: all is put away by then, and taking the interpreter apart takes seconds.
    atexit.register(os._exit, 0)
    threading.Thread(target=_end_with, args=(parent,), name="ranker-watch", daemon=True).start()


class _FirstError(logging.Handler):
    """Notes the first exception that is logged, by whichever process: the cause of what other processes log later."""

    def __init__(self, file: Path) -> None:
        super().__init__(logging.ERROR)
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, unless there is one already or nobody wants to know any more."""
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            with contextlib.suppress(OSError), self._file.open("x") as file:
                file.write(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")


def _end_with(parent: Any) -> None:
    """End this process when its parent has: one that was killed cannot tell its children."""
    parent.join()
    logging.getLogger(__name__).error("the process that started this one has died")
    os._exit(1)
