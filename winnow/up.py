"""`winnow up`: the three services on this machine until Ctrl-C."""

import os
from pathlib import Path

from rich.console import Console

from winnow.locate import read_state, write_state
from winnow.running import fill_bank, running
from winnow.seeds import BUNDLED
from winnow.stack import Ports, service_specs, url
from winnow.supervisor import SupervisorError, port_is_free


def run_up(
    *, ports: Ports, data_dir: Path, console: Console, engine: str | None, seeds: Path | None, timeout_s: float
) -> None:
    """Start the services, load the seeds into an empty bank, and keep them running until KeyboardInterrupt.

    Args:
        ports: where they listen.
        data_dir: keeps everything; made where it is missing.
        console: where progress goes.
        engine: of the ranker; None is its default.
        seeds: directory of the seeds for an empty bank; None means the bundled ones, where they are there.
        timeout_s: seconds in which the services must be ready.

    Raises:
        SupervisorError: a port is taken, the data directory is in use, or a service ended.
    """
    other = read_state(data_dir)
    if other is not None:
        raise SupervisorError(
            f"The data directory {data_dir} is used by process {other.pid}, which serves {other.gateway_url}. "
            "Stop that one, or choose another directory with --data-dir."
        )
    require_free(ports)
    specs = service_specs(ports, data_dir, environment=os.environ, engine=engine)
    with running(specs, data_dir, console, timeout_s=timeout_s) as supervisor:
        state = write_state(data_dir, url(ports.gateway))
        try:
            fill_bank(supervisor, url(ports.router), seeds or BUNDLED / "seeds", data_dir, console)
            console.print(f"Ready: {url(ports.gateway)}    API documentation: {url(ports.gateway)}/docs")
            console.print(f"Data and logs: {data_dir}    Try: winnow moderate FILE    Ctrl-C stops.")
            supervisor.watch()
        finally:
            state.unlink(missing_ok=True)


def require_free(ports: Ports) -> None:
    """Raise SupervisorError naming the first port that is taken, and the option that changes it."""
    for name, port in (("gateway", ports.gateway), ("router", ports.router), ("ranker", ports.ranker)):
        if not port_is_free(port):
            option = "--port" if name == "gateway" else f"--{name}-port"
            raise SupervisorError(f"Port {port}, wanted for the {name}, is taken. Choose another with {option}.")
