"""What the pool knows of one of its servers."""

import asyncio

from ranker_svc.engines.openai.messages import Dialect
from ranker_svc.engines.openai.server import Server


class Member:
    """One server and what is known of it.

    Attributes:
        server: speaks to it.
        dialect: how to ask it; known once it was met.
        reason: why it gets no prompt; None where it does.
        lasting: whether the reason is one that asking again does not cure.
        wake: set to have it looked at now.
        retries: prompts that it failed and another server was asked.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.dialect: Dialect | None = None
        self.reason: str | None = "it was not asked yet"
        self.lasting = False
        self.wake = asyncio.Event()
        self.retries = 0
