"""The three services, started, ready and with seeds in the bank: what `winnow up` and `winnow demo` have in common."""

import asyncio
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from rich.console import Console

from services.clients import RouterClient
from services.errors import WinnowError
from winnow.child import ServiceSpec
from winnow.display import progress_bar, waiting
from winnow.seeds import load_seeds
from winnow.supervisor import Supervisor, SupervisorError

# A router without seeds is not ready, nor is the gateway before it; both take seeds all the same.
UNTIL_SEEDED = {"router": frozenset({"seed bank"}), "gateway": frozenset({"router"})}
SEEDED_TIMEOUT_S = 30.0


@contextmanager
def running(
    specs: Sequence[ServiceSpec], data_dir: Path, console: Console, *, timeout_s: float
) -> Iterator[Supervisor]:
    """The services, ready but for the seeds of a new bank; they are stopped when the block is left, by SIGTERM too.

    Raises:
        SupervisorError: a service ended or did not get ready.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with _terminate_as_interrupt(), Supervisor(specs, log_dir=data_dir / "logs") as supervisor:
        try:
            with waiting(console) as progress:
                supervisor.wait_ready(timeout_s=timeout_s, progress=progress, tolerated=UNTIL_SEEDED)
            yield supervisor
        finally:
            console.print("Stopping the services; in-flight work is finished. Ctrl-C again stops them at once.")
            killed = supervisor.stop()
            if killed:
                console.print(f"Had to be killed: {', '.join(killed)}")


def fill_bank(supervisor: Supervisor, router_url: str, seeds: Path, data_dir: Path, console: Console) -> None:
    """Load the seeds into an empty bank, with a progress bar.

    Raises:
        SupervisorError: a seed could not be added; a dead service is named with its log.
    """
    with progress_bar(console) as bar:
        task = bar.add_task("Loading seeds", total=None, visible=False)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        async def load() -> int:
            async with RouterClient(router_url) as router:
                return await load_seeds(router, seeds, data_dir, advance=advance)

        try:
            added = asyncio.run(load())
        except WinnowError as error:
            supervisor.check()
            raise SupervisorError(f"The seeds could not be loaded: {error.detail}") from error
        except (OSError, ValueError) as error:
            raise SupervisorError(f"The seeds in {seeds} cannot be read: {error}") from error
    supervisor.wait_ready(timeout_s=SEEDED_TIMEOUT_S)
    console.print(f"{added} seeds loaded." if added else "The bank has its seeds already.")


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM stops the services as Ctrl-C does, instead of leaving this process at once."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = None
    # Only the main thread may set handlers; elsewhere, as in tests, SIGTERM keeps its meaning.
    with suppress(ValueError):
        previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)
