"""A helper process that asks a ranker: in a closed loop, or on a schedule that does not wait for answers.

It speaks through http.client in threads, as load_client does, and makes all bodies before the clock starts.
"""

import http.client
import json
import queue
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from services.deadline import DEADLINE_HEADER
from tests.bench.helper import Command, serve
from tests.bench.ranker_requests import Asked, body, jpegs

TIMEOUT_S = 180.0


@dataclass
class Outcome:
    """What came back: number of the request, seconds, status; and the answer where there was one."""

    rows: list[tuple[int, float, int]] = field(default_factory=list)
    answers: dict[int, bytes] = field(default_factory=dict)
    errors: list[BaseException] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Caller:
    """One kept connection; it is opened anew where the server has closed it."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._host = urlsplit(url).netloc
        self._headers = {"Content-Type": "application/json", **headers}
        self._link: http.client.HTTPConnection | None = None

    def post(self, content: bytes) -> tuple[int, bytes]:
        kept = self._link
        link = self._link = kept or http.client.HTTPConnection(self._host, timeout=TIMEOUT_S)
        try:
            link.request("POST", "/v1/rank", content, self._headers)
            response = link.getresponse()
            return response.status, response.read()
        except (http.client.RemoteDisconnected, ConnectionError):
            self.close()
            if kept is None:
                raise
            return self.post(content)

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


def answer(command: Command) -> dict[str, Any]:
    """Sends requests `first` to `first + count`: `callers` at a time, or `rate` a second on average, seeded."""
    asked = Asked(**command["asked"])
    numbers = range(command["first"], command["first"] + command["count"])
    issues = asked.questions()
    bodies = {number: body(jpegs(number, asked.side), issues) for number in numbers}
    due = _schedule(command["count"], command.get("rate"), command.get("seed", 0))
    headers = {DEADLINE_HEADER: str(command["deadline_ms"])} if "deadline_ms" in command else {}
    outcome = Outcome()
    turns: queue.SimpleQueue[tuple[int, float] | None] = queue.SimpleQueue()
    started, cpu = time.perf_counter(), time.process_time()
    threads = [
        threading.Thread(target=_work, args=(Caller(command["url"], headers), turns, bodies, outcome))
        for _ in range(command["callers"])
    ]
    for thread in threads:
        thread.start()
    for number, wait in zip(numbers, due, strict=True):
        if wait:
            time.sleep(max(0.0, started + wait - time.perf_counter()))
        # In a closed loop a request begins when a caller takes it, on a schedule when it was due.
        turns.put((number, started + wait if wait else 0.0))
    for _ in threads:
        turns.put(None)
    for thread in threads:
        thread.join()
    elapsed, used = time.perf_counter() - started, time.process_time() - cpu
    if outcome.errors:
        raise outcome.errors[0]
    return {
        "elapsed": elapsed,
        "client_cpu": used,
        "rows": outcome.rows,
        "p_yes": {number: _p_yes(content) for number, content in outcome.answers.items()},
    }


def _p_yes(content: bytes) -> list[float]:
    return [each["p_yes"] for issue in json.loads(content)["issues"] for each in issue["answers"]]


def _schedule(count: int, rate: float | None, seed: int) -> list[float]:
    """Seconds after the start at which each request is due, as a Poisson process; zeros for a closed loop."""
    if rate is None:
        return [0.0] * count
    gaps: Callable[[float], float] = random.Random(seed).expovariate
    at, due = 0.0, []
    for _ in range(count):
        at += gaps(rate)
        due.append(at)
    return due


def _work(
    caller: Caller,
    turns: "queue.SimpleQueue[tuple[int, float] | None]",
    bodies: dict[int, bytes],
    outcome: Outcome,
) -> None:
    try:
        while (turn := turns.get()) is not None:
            number, due = turn
            began = due or time.perf_counter()
            status, content = caller.post(bodies[number])
            seconds = time.perf_counter() - began
            with outcome.lock:
                outcome.rows.append((number, seconds, status))
                if status == 200:
                    outcome.answers[number] = content
    except BaseException as error:
        outcome.errors.append(error)
        raise
    finally:
        caller.close()


if __name__ == "__main__":
    serve(answer)
