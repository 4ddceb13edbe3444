"""A helper process that asks a service in a closed loop: each caller sends its next request when it has its answer.

It speaks through http.client in threads: httpx takes 2 to 5 ms of CPU for a request, on the cores that are measured.
"""

import http.client
import itertools
import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.bench.helper import Command, serve

_BOUNDARY = "winnow-bench-3f1c9a6e"
_HEADERS = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}


@dataclass
class Outcome:
    """What came back: seconds and status of every request, and the last answer about each entry."""

    seconds: list[float] = field(default_factory=list)
    entries: list[int] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    answers: dict[int, bytes] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, index: int, seconds: float, status: int, answer: bytes) -> None:
        self.seconds.append(seconds)
        self.entries.append(index)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.answers[index] = answer


def body_of(entry: dict[str, Any]) -> bytes:
    """The multipart body, built once: a client must cost less than what it measures."""
    video = Path(entry["path"]).read_bytes()
    return (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="request"\r\nContent-Type: application/json\r\n\r\n'
        f"{entry['request']}\r\n"
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="video"; filename="clip.mp4"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode() + b"".join((video, f"\r\n--{_BOUNDARY}--\r\n".encode()))


def _post(links: dict[str, http.client.HTTPConnection], host: str, path: str, body: bytes) -> tuple[int, bytes]:
    """Status and answer; on a new connection where the server has closed the one that was kept."""
    kept = links.get(host)
    link = kept or http.client.HTTPConnection(host, timeout=60.0)
    links[host] = link
    try:
        link.request("POST", path, body, _HEADERS)
        response = link.getresponse()
        return response.status, response.read()
    except (http.client.RemoteDisconnected, ConnectionError):
        link.close()
        del links[host]
        if kept is None:
            raise
        return _post(links, host, path, body)


def closed_loop(command: Command) -> dict[str, Any]:
    """Asks `urls[i]` with entry i in turn, for `seconds` or until `count` requests were sent, `callers` at a time."""
    bodies = [body_of(entry) for entry in command["entries"]]
    urls = [urlsplit(url) for url in command["urls"]]
    outcome = Outcome()
    turns = itertools.count()
    count = command.get("count") or float("inf")
    started, cpu = time.perf_counter(), time.process_time()
    ends = started + (command.get("seconds") or float("inf"))
    errors: list[BaseException] = []

    def caller() -> None:
        connections: dict[str, http.client.HTTPConnection] = {}
        try:
            while (turn := next(turns)) < count and time.perf_counter() < ends:
                index = turn % len(bodies)
                url = urls[index]
                sent = time.perf_counter()
                status, answer = _post(connections, url.netloc, url.path, bodies[index])
                seconds = time.perf_counter() - sent
                with outcome.lock:
                    outcome.add(index, seconds, status, answer)
        except BaseException as error:
            errors.append(error)
            raise
        finally:
            for link in connections.values():
                link.close()

    callers = [threading.Thread(target=caller) for _ in range(command["callers"])]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    elapsed, used = time.perf_counter() - started, time.process_time() - cpu
    if errors:
        raise errors[0]
    return {
        "elapsed": elapsed,
        "client_cpu": used,
        "seconds": outcome.seconds,
        "entries": outcome.entries,
        "statuses": outcome.statuses,
        "answers": {index: json.loads(raw) for index, raw in outcome.answers.items()},
    }


if __name__ == "__main__":
    serve(closed_loop)
