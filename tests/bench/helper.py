"""A helper process that benchmarks ask over its standard streams: one JSON line in, one JSON line out."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from winnow.stack import without_settings

Command = dict[str, Any]


def product_environment() -> dict[str, str]:
    """The environment without our settings and without the single thread that tests give numeric libraries."""
    return {name: value for name, value in without_settings(os.environ).items() if name != "OMP_NUM_THREADS"}


def serve(answer: Callable[[Command], Any]) -> None:
    """Answers commands until the standard input ends; the helper's side."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    for line in sys.stdin:
        out.write(json.dumps(answer(json.loads(line))) + "\n")
        out.flush()


class Helper:
    """Runs `python -m <module>` and asks it; a context manager that ends it."""

    def __init__(self, module: str, environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(environment if environment is not None else product_environment()),
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, **command: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the helper ended with {self._process.wait()}")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)
