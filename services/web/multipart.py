"""Reads a multipart/form-data body piece by piece; python-multipart parses, this turns its callbacks into events."""

from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from services.errors import MalformedRequest

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_HEADERS_PER_PART = 8
MAX_HEADER_BYTES = 4_096
_MAX_FILENAME = 255


@dataclass(frozen=True)
class PartStarted:
    """The headers of a part were read."""

    name: str
    filename: str | None


@dataclass(frozen=True)
class PartData:
    """A piece of the part that started last."""

    data: bytes


@dataclass(frozen=True)
class PartEnded:
    """The part that started last is complete."""


Event = PartStarted | PartData | PartEnded


def boundary_of(content_type: str | None, *, parts: str) -> bytes:
    """The boundary that a Content-Type header names.

    Args:
        content_type: the header, or None where it was not sent.
        parts: the parts that the route expects, in words, for the message.

    Raises:
        MalformedRequest: another content type, or no boundary.
    """
    expected = f"Send `multipart/form-data` with {parts}."
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise MalformedRequest(f"{expected} The content type was {_shown(kind)}.")
    boundary = options.get(b"boundary")
    if not boundary:
        raise MalformedRequest(f"{expected} The content type names no boundary.")
    return boundary


class FormParser:
    """Bytes in, events out.

    Args:
        boundary: as `boundary_of` gives it.

    Raises:
        MalformedRequest: the boundary is longer than the parser allows.
    """

    def __init__(self, boundary: bytes) -> None:
        self.complete = False
        self._events: list[Event] = []
        self._headers: dict[str, str] = {}
        self._field = b""
        self._value = b""
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._headers.clear,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }
        try:
            self._parser = MultipartParser(
                boundary, callbacks, max_header_count=MAX_HEADERS_PER_PART, max_header_size=MAX_HEADER_BYTES
            )
        except FormParserError as error:
            raise MalformedRequest(f"The multipart boundary cannot be used: {error}.") from error

    def feed(self, chunk: bytes) -> list[Event]:
        """The events of the next bytes of the body.

        Raises:
            MalformedRequest: the bytes are not a multipart body, or a part has no name.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise MalformedRequest(f"The body is not valid multipart/form-data: {error}.") from error
        events, self._events = self._events, []
        return events

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._field.decode("latin-1").lower()] = self._value.decode("utf-8", "replace")
        self._field = self._value = b""

    def _on_headers_finished(self) -> None:
        kind, options = parse_options_header(_latin(self._headers.get("content-disposition", "")))
        name = options.get(b"name")
        if kind != b"form-data" or not name:
            raise MalformedRequest("Every part needs a header `Content-Disposition: form-data; name=...`.")
        filename = options.get(b"filename")
        self._events.append(
            PartStarted(
                name=name.decode("utf-8", "replace"),
                filename=None if filename is None else safe_filename(filename.decode("utf-8", "replace")),
            )
        )

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(PartData(data[start:end]))

    def _on_part_end(self) -> None:
        self._events.append(PartEnded())

    def _on_end(self) -> None:
        self.complete = True


def safe_filename(name: str) -> str | None:
    """The last component of a client's file name, printable characters alone, at most 255; None where nothing is left.

    For display and logs: no path is ever built from it.
    """
    last = PureWindowsPath(PurePosixPath(name).name).name
    return "".join(c for c in last if c.isprintable())[:_MAX_FILENAME] or None


def _latin(value: str) -> str:
    # parse_options_header encodes its answer as latin-1, so UTF-8 has to pass through it byte by byte.
    return value.encode("utf-8").decode("latin-1")


def _shown(kind: bytes) -> str:
    return f"`{kind.decode('latin-1')[:100]}`" if kind else "not given"
