"""What several commands share: exit codes, time-outs, and errors told plainly."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from services.errors import WinnowError
from winnow.supervisor import SupervisorError

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of SIGINT, as shells have it."""
READY_TIMEOUT_S = 300.0
MAX_TIMEOUT_S = 86_400.0

Timeout = Annotated[
    float, typer.Option(min=1.0, max=MAX_TIMEOUT_S, help="Seconds in which the services must be ready.")
]


@contextmanager
def plain_errors(console: Console) -> Iterator[None]:
    """Turn what a user can put right into a message and exit code 1."""
    try:
        yield
    except (SupervisorError, ModuleNotFoundError, OSError, RuntimeError, ValueError, WinnowError) as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(INTERRUPTED) from error
