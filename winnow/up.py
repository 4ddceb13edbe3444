"""`winnow up`: the three services on this machine until Ctrl-C."""

import os
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console

from winnow.locate import hold, write_state
from winnow.running import fill_bank, running
from winnow.seeds import BUNDLED, bundled_fit
from winnow.stack import ROUTER_TOKEN, EngineName, Ports, service_specs, url
from winnow.supervisor import SupervisorError, port_is_free


def run_up(
    *,
    ports: Ports,
    data_dir: Path,
    console: Console,
    engine: EngineName | None,
    device: str | None,
    seeds: Path | None,
    no_seeds: bool,
    timeout_s: float,
) -> None:
    """Start the services, load the seeds into an empty bank, and keep them running until KeyboardInterrupt.

    Args:
        ports: where they listen.
        data_dir: keeps everything; made where it is missing.
        console: where progress goes.
        engine: of the ranker; None is its default.
        device: of its model; None is its default.
        seeds: directory of the seeds for an empty bank; None means the bundled ones, where they fit.
        no_seeds: leave an empty bank empty.
        timeout_s: seconds in which the services must be ready.

    Raises:
        SupervisorError: a port is taken, the data directory is in use or unusable, or a service ended.
    """
    if seeds is not None and no_seeds:
        raise SupervisorError("--seeds and --no-seeds exclude each other: give one of them.")
    token = os.environ.get(ROUTER_TOKEN)
    chosen = seeds
    if seeds is None and not no_seeds and bundled_fit(os.environ):
        chosen = BUNDLED / "seeds"
    with hold(data_dir):
        require_free(ports)
        specs = service_specs(ports, data_dir, environment=os.environ, engine=engine, device=device)
        with running(specs, data_dir, console, timeout_s=timeout_s) as supervisor:
            state = write_state(data_dir, url(ports.gateway))
            try:
                added = fill_bank(
                    supervisor,
                    url(ports.router),
                    chosen,
                    data_dir,
                    console,
                    token=SecretStr(token) if token else None,
                )
                if seeds is not None and not added:
                    console.print(f"--seeds {seeds} was ignored: they are for an empty bank.", markup=False)
                status = "Not ready without seeds" if added is None else "Ready"
                console.print(f"{status}: {url(ports.gateway)}    API documentation: {url(ports.gateway)}/docs")
                console.print(f"Data and logs: {data_dir}    Try: winnow moderate FILE    Ctrl-C stops.", markup=False)
                supervisor.watch()
            finally:
                state.unlink(missing_ok=True)


def require_free(ports: Ports) -> None:
    """Raise SupervisorError where two ports are the same or one is taken, naming the option that changes it."""
    if len({ports.gateway, ports.router, ports.ranker}) < 3:
        raise SupervisorError(
            "Gateway, router and ranker need three different ports: give --port, --router-port and --ranker-port."
        )
    for name, port in (("gateway", ports.gateway), ("router", ports.router), ("ranker", ports.ranker)):
        if not port_is_free(port):
            option = "--port" if name == "gateway" else f"--{name}-port"
            raise SupervisorError(f"Port {port}, wanted for the {name}, is taken. Choose another with {option}.")
