"""vLLM's own OpenAI-compatible server as a process of its own, on a free port."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from ranker_svc.engines.vllm import child_site
from ranker_svc.settings import bundled_model
from tests.servers import free_port

START_S = 240.0
STOP_S = 30.0
NAME = "bundled"
"""Under which the model is served."""
# As docs/ranker.md tells users to start one; float16, which the checkpoint names, is slow on a CPU.
ARGUMENTS = ("--dtype", "float32", "--limit-mm-per-prompt", '{"image": 16}', "--enforce-eager")


class VllmServer:
    """One server; a test may kill it and start it again on the same port.

    Args:
        log: file that its output goes to.
        model: checkpoint.
        arguments: of vLLM's server, beside ARGUMENTS.
    """

    def __init__(self, log: Path, *, model: str | None = None, arguments: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        self._model = model or bundled_model()
        self._arguments = (*ARGUMENTS, *arguments)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers; its log is the error where it does not."""
        own = ("--model", self._model, "--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(self.port))
        # The `vllm` command of the CPU build does not start; the module does.
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *own, *self._arguments]
        environment = {"VLLM_CPU_KVCACHE_SPACE": "1", **os.environ, "VLLM_NO_USAGE_STATS": "1"}
        # The server imports torchvision before it loads plugins; Python runs this in each of its processes.
        site = str(Path(child_site.__file__).parent)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (site, environment.get("PYTHONPATH"))))
        with self._log.open("ab") as log:
            # A session of its own: its engine is a child process, and both end together.
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        until = time.monotonic() + START_S
        with httpx.Client(base_url=self.url, trust_env=False, timeout=5.0) as client:
            while not _healthy(client):
                if self._process.poll() is not None or time.monotonic() > until:
                    self.kill()
                    raise AssertionError(self._log.read_text(encoding="utf-8", errors="replace")[-8000:])
                time.sleep(0.25)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """End it, and whatever it leaves behind."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for each in (number, signal.SIGKILL):
            try:
                os.killpg(process.pid, each)
                process.wait(STOP_S)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        process.wait(STOP_S)


def _healthy(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def vllm_server(directory: Path, *, model: str | None = None, arguments: Sequence[str] = ()) -> Iterator[VllmServer]:
    """A server that runs for the block; its log is `vllm-server.log` in the directory."""
    server = VllmServer(directory / "vllm-server.log", model=model, arguments=arguments)
    try:
        server.start()
        yield server
    finally:
        server.close()
