"""A start that takes tens of seconds in a thread, and can be given up: no child process stays behind."""

import asyncio
import concurrent.futures
import contextlib
import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

GIVE_UP_S = 5.0
"""Seconds that a caller waits for the thread to end once it has been told to; an import cannot be stopped."""
LOOK_S = 0.05
"""Seconds between two looks for child processes."""


async def run_start(work: Callable[[threading.Event], T], undo: Callable[[T], None]) -> T:
    """The result of `work`, run in a thread of its own that does not keep the process alive.

    Where the caller is cancelled, the event that `work` got is set, child processes that it has started are killed, and
    a result that comes all the same is undone.
    """
    # Not by the time at which a process was started: the system dates processes to a second.
    before = children()
    cancelled = threading.Event()
    done: Future[None] = Future()
    # Not the future's result: the traceback of an error that vLLM keeps would then hold it until Python ends.
    results: list[T] = []

    def run() -> None:
        try:
            results.append(work(cancelled))
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=run, name="engine-start", daemon=True).start()
    ended = asyncio.wrap_future(done)
    # Read it in any case: where the caller has left, nobody else does, and asyncio would complain.
    ended.add_done_callback(lambda future: future.cancelled() or future.exception())
    try:
        await asyncio.shield(ended)
    except asyncio.CancelledError:
        cancelled.set()
        given_up = threading.Thread(target=_give_up, args=(done, before, results, undo), name="give-up", daemon=True)
        given_up.start()
        await asyncio.to_thread(given_up.join, GIVE_UP_S)
        raise
    return results.pop()


def _give_up(done: "Future[None]", before: frozenset[Any], results: list[T], undo: Callable[[T], None]) -> None:
    """Kill what the start's thread starts, until it has ended."""
    while not done.done():
        kill_children(before)
        concurrent.futures.wait([done], timeout=LOOK_S)
    kill_children(before)
    if results:
        undo(results.pop())


def children() -> frozenset[Any]:
    """Every process below this one (psutil.Process); none without psutil, which comes with vLLM."""
    try:
        import psutil
    except ImportError:
        return frozenset()
    return frozenset(psutil.Process().children(recursive=True))


def kill_children(before: frozenset[Any]) -> None:
    """Kill every process below this one but those of `before`."""
    with contextlib.suppress(ImportError):
        import psutil

        for child in children() - before:
            with contextlib.suppress(psutil.NoSuchProcess):
                # Multiprocessing's own helper puts shared memory away, and ends by itself.
                if "resource_tracker" not in " ".join(child.cmdline()):
                    child.kill()
    # Collects those that have ended.
    multiprocessing.active_children()
