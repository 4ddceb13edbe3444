"""How the `winnow seeds` commands speak to the gateway: pages, short ids, patience, and errors told plainly."""

import asyncio
import os
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import typer
from pydantic import SecretStr, ValidationError
from rich.console import Console

from services.clients import GatewayClient, SeedCalls
from services.contracts import Seed, SeedFilter
from services.contracts.seeds import SEED_ID
from services.deadline import Deadline
from services.errors import NotReady, Overloaded, RouterUnavailable, WinnowError
from winnow.display import stderr_console
from winnow.locate import default_data_dir, gateway_url
from winnow.moderate import ADVICE
from winnow.options import INTERRUPTED
from winnow.report import printable
from winnow.supervisor import SupervisorError

T = TypeVar("T")

PAGE = 200
"""Seeds of a page, the most that the API gives."""
SHORTEST = 4
"""Fewest digits that name a seed on the command line."""
PATIENCE_S = 120.0
"""How long one call is tried again while the services have no capacity or are not ready."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
BUSY = (Overloaded, NotReady, RouterUnavailable)

_PREFIX = re.compile(rf"[0-9a-f]{{{SHORTEST},31}}")
_ADVICE = ADVICE | {
    "not_found": "`winnow seeds list` names what the bank holds; check --url where this address is not a gateway's.",
    "conflict": "`winnow seeds set ID --state active` brings a removed seed back.",
    "precondition_failed": "Somebody else has changed it: look again with `winnow seeds show ID`.",
    "unauthorized": "Put an API key of the gateway that has the scope `seeds` into WINNOW_API_KEY.",
    "forbidden": "Use a key with the scope `seeds` (`admin` to change the encoder), or ask from the gateway's machine.",
    "unknown_issue": "`GET /v1/policy` of the gateway lists the issues.",
    "router_unavailable": "Look at the router: it may be starting, or down.",
}


def ask(
    work: Callable[[SeedCalls], Awaitable[T]],
    *,
    url: str | None,
    data_dir: Path | None,
    advice: Mapping[str, str] = MappingProxyType({}),
    interrupted: Callable[[Console], None] | None = None,
) -> T:
    """What `work` gives, done with the calls of the gateway; its API key is read from WINNOW_API_KEY.

    Args:
        work: is awaited in an event loop of its own.
        url: of the gateway; None as winnow.locate.gateway_url has it.
        data_dir: whose running `winnow up` is looked for; None is the user's.
        advice: what to do about errors of these codes, where it is not what other commands say.
        interrupted: says on Ctrl-C what goes on all the same.

    Raises:
        typer.Exit: 1, told on stderr, where the gateway answers an error or a file cannot be used; 130 on Ctrl-C.
    """
    console = stderr_console()
    key = os.environ.get("WINNOW_API_KEY")

    async def talk() -> T:
        async with GatewayClient(where(url, data_dir), api_key=SecretStr(key) if key else None) as gateway:
            return await work(gateway.seeds)

    try:
        return asyncio.run(talk())
    except (ModuleNotFoundError, OSError, SupervisorError, ValueError, WinnowError) as error:
        console.print(explain(error, advice), style="red", markup=False)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        if interrupted is not None:
            interrupted(console)
        raise typer.Exit(INTERRUPTED) from error


def where(url: str | None, data_dir: Path | None) -> str:
    """The gateway that is asked. Raises ValueError where what is named is not the URL of one."""
    return gateway_url(url, os.environ, data_dir or default_data_dir())


def explain(error: Exception, advice: Mapping[str, str] = MappingProxyType({})) -> str:
    """What went wrong, in which field, and what to do about it, on one line that a terminal may show."""
    if isinstance(error, WinnowError):
        fields = [f"{each.pointer}: {each.detail}" for each in error.errors]
        hint = advice.get(error.code, _ADVICE.get(error.code, "Try again." if error.retryable else ""))
        text = " ".join(part for part in (error.detail, *fields, hint) if part)
    elif isinstance(error, ValidationError):
        text = "; ".join(problems(error))
    elif isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        text = f"{name}The file cannot be used: {error.strerror or error}."
    else:
        text = str(error)
    return printable(text)


def problems(error: ValidationError) -> list[str]:
    """Each field that is wrong, and why."""
    found = error.errors(include_url=False)
    return [": ".join(filter(None, ("/".join(map(str, each["loc"])), each["msg"]))) for each in found]


async def pages(
    calls: SeedCalls, asked: SeedFilter, timeout_s: float, *, patience_s: float = 0.0
) -> AsyncIterator[tuple[Seed, ...]]:
    """The pages that a filter names, newest seeds first, from its cursor to the last one.

    Args:
        calls: of the gateway.
        asked: the filter; its limit is the size of the pages.
        timeout_s: seconds for one page.
        patience_s: see `patiently`.
    """
    while True:
        page = await patiently(partial(calls.page, asked), timeout_s, patience_s=patience_s)
        yield page.seeds
        if page.next_cursor is None:
            return
        asked = asked.model_copy(update={"cursor": page.next_cursor})


async def every_page(
    calls: SeedCalls, timeout_s: float, *, limit: int = PAGE, patience_s: float = 0.0
) -> AsyncIterator[tuple[Seed, ...]]:
    """The pages of the whole bank, the removed seeds last; a seed that is removed meanwhile may come twice."""
    for asked in (SeedFilter(limit=limit), SeedFilter(limit=limit, state="removed")):
        async for page in pages(calls, asked, timeout_s, patience_s=patience_s):
            yield page


async def whole_id(calls: SeedCalls, given: str, timeout_s: float) -> str:
    """The id that begins with what was given; the bank is listed where that is not the whole of one.

    Raises:
        ValueError: it cannot be the beginning of an id, or no seed or several have it.
    """
    text = given.strip().lower()
    if SEED_ID.fullmatch(text):
        return text
    if not _PREFIX.fullmatch(text):
        raise ValueError(f"{given!r} is not the id of a seed: 32 hexadecimal digits, or the first {SHORTEST} or more.")
    with stderr_console().status("Looking for the seed"):
        found = {seed.id async for page in every_page(calls, timeout_s) for seed in page if seed.id.startswith(text)}
    if len(found) != 1:
        several = f"Several seeds begin with {text}: {', '.join(sorted(found)[:5])}. Give more digits."
        none = f"No seed begins with {text}. `winnow seeds list` names what the bank holds."
        raise ValueError(several if found else none)
    return found.pop()


async def patiently(call: Callable[[Deadline], Awaitable[T]], timeout_s: float, *, patience_s: float = PATIENCE_S) -> T:
    """The result of a call that is made again while the services are busy or not ready, no sooner than they say.

    Args:
        call: is given the deadline of each attempt.
        timeout_s: seconds for one attempt.
        patience_s: after so many seconds the error is raised.

    Raises:
        WinnowError: what the last attempt raised.
    """
    until, pause = time.monotonic() + patience_s, FIRST_PAUSE_S
    while True:
        try:
            return await call(Deadline.after(timeout_s))
        except BUSY as error:
            wait = pause if error.retry_after_s is None else max(error.retry_after_s, 0.1)
            # Callers that were refused together shall not come back together.
            wait *= random.uniform(1.0, 1.25)
            if time.monotonic() + wait > until:
                raise
        await asyncio.sleep(wait)
        pause = min(2 * pause, LONGEST_PAUSE_S)
