"""The three services, started, ready and with seeds in the bank: what `winnow up` and `winnow demo` have in common."""

import asyncio
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from pydantic import SecretStr
from rich.console import Console

from services.clients import RouterClient
from services.errors import WinnowError
from winnow.child import ServiceSpec
from winnow.display import progress_bar, waiting
from winnow.seeds import is_empty, load_seeds
from winnow.supervisor import Supervisor, SupervisorError

# A router without seeds is not ready, nor is the gateway before it; both take seeds all the same.
UNTIL_SEEDED = {
    "router": frozenset({"seed bank"}),
    "gateway": frozenset({"router"}),
    "control": frozenset({"router"}),  # the other gateway of an experiment
}
SEEDED_TIMEOUT_S = 30.0
EMPTY = "The bank is empty: add seeds with winnow seeds add or import, or start with --seeds DIR"


@contextmanager
def running(
    specs: Sequence[ServiceSpec], data_dir: Path, console: Console, *, timeout_s: float
) -> Iterator[Supervisor]:
    """The services, ready but for the seeds of a new bank; they are stopped when the block is left, by SIGTERM too.

    Raises:
        SupervisorError: a service ended or did not get ready.
    """
    with _terminate_as_interrupt(), Supervisor(specs, log_dir=data_dir / "logs") as supervisor:
        ready = False
        try:
            with waiting(console) as progress:
                supervisor.wait_ready(timeout_s=timeout_s, progress=progress, tolerated=UNTIL_SEEDED)
            ready = True
            yield supervisor
        finally:
            if ready:
                console.print("Stopping the services; in-flight work is finished. Ctrl-C again stops them at once.")
            killed = supervisor.stop()
            if killed:
                console.print(f"Had to be killed: {', '.join(killed)}")


def fill_bank(
    supervisor: Supervisor,
    router_url: str,
    seeds: Path | None,
    data_dir: Path,
    console: Console,
    *,
    token: SecretStr | None = None,
) -> int | None:
    """Load the seeds into an empty bank, with a progress bar, and wait until all services are ready.

    Args:
        supervisor: of the services.
        router_url: whose bank it is.
        seeds: their directory; None adds none.
        data_dir: remembers an unfinished load.
        console: where progress goes.
        token: the router's service token.

    Returns:
        How many seeds were added; None where the bank is left empty, and the services not ready.

    Raises:
        SupervisorError: a seed could not be added; a dead service is named with its log.
    """
    with progress_bar(console) as bar:
        task = bar.add_task("Loading seeds", total=None, visible=False)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        async def load() -> int | None:
            async with RouterClient(router_url, token=token) as router:
                if seeds is None:
                    return None if await is_empty(router) else 0
                return await load_seeds(router, seeds, data_dir, advance=advance)

        try:
            added = asyncio.run(load())
        except WinnowError as error:
            supervisor.check()
            raise SupervisorError(f"The seeds could not be loaded: {error.detail}") from error
        except (OSError, ValueError) as error:
            raise SupervisorError(f"The seeds in {seeds} cannot be read: {error}") from error
    if added is None:
        console.print(EMPTY, markup=False)
        return None
    supervisor.wait_ready(timeout_s=SEEDED_TIMEOUT_S)
    console.print(f"{added} seeds loaded." if added else "The bank has its seeds already.")
    return added


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
