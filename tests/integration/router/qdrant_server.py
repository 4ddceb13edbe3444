"""A small HTTP server that speaks those of Qdrant's REST routes that the index calls.

It is not Qdrant: behind it stands the local mode of qdrant-client, in memory, which searches exactly and has neither
graphs, payload indexes, shards nor gRPC. What it shows is the way over HTTP: that every call of ours is one that the
client can send and whose answer it can read, API key, time-outs, refusals, and a server that comes and goes. What only
Qdrant can show is tested where QDRANT_URL names a real server (test_qdrant_server.py).
"""

import json
import re
import threading
import warnings
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel
from qdrant_client import QdrantClient, models

Answer = Callable[["QdrantServer", str, dict[str, Any]], Any]


class Refused(Exception):
    """Answered with this status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class QdrantServer:
    """Listens on a free port of this machine while it is entered.

    Attributes:
        delay_s: how long each answer takes.
        failing: status that every request is answered with, e.g. 503; None answers.
        asked: method, path and query parameters of every request.
        aliased: the operations of each request that changed aliases.
        made: the bodies of requests that made a collection, by its name.
        indexes: the schemas of payload indexes, by collection and field.
    """

    def __init__(self, api_key: str | None = None, port: int = 0) -> None:
        self.api_key = api_key
        self.delay_s = 0.0
        self.failing: int | None = None
        self.asked: list[tuple[str, str, dict[str, list[str]]]] = []
        self.aliased: list[list[dict[str, Any]]] = []
        self.made: dict[str, dict[str, Any]] = {}
        self.indexes: dict[tuple[str, str], dict[str, Any]] = {}
        self.client = QdrantClient(":memory:", force_disable_check_same_thread=True)
        self._one_at_a_time = threading.Lock()
        self._stopping = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", port), _handler_of(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name="qdrant-server")

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        self.client.close()

    def answer(self, method: str, target: str, api_key: str | None, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and JSON of the answer to one request."""
        path = urlsplit(target).path
        self.asked.append((method, path, parse_qs(urlsplit(target).query)))
        self._stopping.wait(self.delay_s)
        try:
            if self.failing is not None:
                raise Refused(self.failing, "out of order")
            if self.api_key is not None and api_key != self.api_key:
                raise Refused(401, "Must provide an API key or an Authorization bearer token")
            for of_method, pattern, function in _ROUTES:
                found = re.fullmatch(pattern, path)
                if found and of_method == method:
                    with self._one_at_a_time, warnings.catch_warnings():
                        warnings.simplefilter("ignore", UserWarning)  # local mode says that indexes have no effect
                        name = found.group(1) if found.groups() else ""
                        if (
                            method != "PUT"
                            and name
                            and not self.client.collection_exists(name)
                            and "exists" not in path
                        ):
                            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")
                        return 200, {"result": _plain(function(self, name, body)), "status": "ok", "time": 0.0}
            raise Refused(404, f"no route {method} {path}")
        except Refused as error:
            return error.status, {"status": {"error": str(error)}, "time": 0.0}
        except ValueError as error:
            return 400, {"status": {"error": str(error)}, "time": 0.0}


def _create(server: QdrantServer, name: str, body: dict[str, Any]) -> bool:
    if server.client.collection_exists(name):
        raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
    server.made[name] = body
    asked = models.CreateCollection.model_validate(body)
    assert isinstance(asked.vectors, models.VectorParams)
    return server.client.create_collection(name, asked.vectors)


def _index(server: QdrantServer, name: str, body: dict[str, Any]) -> models.UpdateResult:
    asked = models.CreateFieldIndex.model_validate(body)
    server.indexes[name, asked.field_name] = body["field_schema"]
    return server.client.create_payload_index(name, asked.field_name, asked.field_schema)


def _upsert(server: QdrantServer, name: str, body: dict[str, Any]) -> models.UpdateResult:
    return server.client.upsert(name, models.PointsList.model_validate(body).points)


def _delete(server: QdrantServer, name: str, body: dict[str, Any]) -> models.UpdateResult:
    return server.client.delete(name, models.FilterSelector.model_validate(body))


def _query(server: QdrantServer, name: str, body: dict[str, Any]) -> list[models.QueryResponse]:
    return server.client.query_batch_points(name, models.QueryRequestBatch.model_validate(body).searches)


def _scroll(server: QdrantServer, name: str, body: dict[str, Any]) -> dict[str, Any]:
    asked = models.ScrollRequest.model_validate(body)
    points, after = server.client.scroll(
        name, limit=asked.limit or 10, offset=asked.offset, with_payload=asked.with_payload or False
    )
    return {"points": points, "next_page_offset": after}


def _aliases(server: QdrantServer, _: str, body: dict[str, Any]) -> bool:
    server.aliased.append(body["actions"])
    return server.client.update_collection_aliases(models.ChangeAliasesOperation.model_validate(body).actions)


_NAME = r"/collections/([^/]+)"
_ROUTES: list[tuple[str, str, Answer]] = [
    ("POST", "/collections/aliases", _aliases),
    ("GET", "/aliases", lambda server, _, __: server.client.get_aliases()),
    ("GET", f"{_NAME}/exists", lambda server, name, _: {"exists": server.client.collection_exists(name)}),
    ("PUT", _NAME, _create),
    ("DELETE", _NAME, lambda server, name, _: server.client.delete_collection(name)),
    ("PUT", f"{_NAME}/index", _index),
    ("PUT", f"{_NAME}/points", _upsert),
    ("POST", f"{_NAME}/points/delete", _delete),
    ("POST", f"{_NAME}/points/query/batch", _query),
    ("POST", f"{_NAME}/points/scroll", _scroll),
]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _handler_of(server: QdrantServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            status, answer = server.answer(self.command, self.path, self.headers.get("api-key"), body)
            data = json.dumps(answer).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except ConnectionError:
                self.close_connection = True  # the client has left

        do_GET = do_PUT = do_POST = do_DELETE = _serve

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    return Handler
