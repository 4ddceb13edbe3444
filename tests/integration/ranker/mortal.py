"""A ranker whose engine takes `SECONDS` for an answer and dies on SIGUSR1."""

import asyncio
import os
import signal

from ranker_svc.app import create_app
from ranker_svc.engines.deterministic import DeterministicEngine
from ranker_svc.settings import Settings
from services.web.server import run


class Mortal(DeterministicEngine):
    async def start(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.die, "the test killed it")


if __name__ == "__main__":
    seconds = float(os.environ.get("SECONDS", "0"))
    run(lambda settings: create_app(settings, engine=lambda: Mortal(seconds=seconds)), Settings, service="ranker")
