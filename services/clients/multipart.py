"""A multipart body of a JSON part and a video file, read off the event loop while it is sent."""

import secrets
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from anyio import to_thread
from pydantic import BaseModel

_READ_BYTES = 256 * 1024


@dataclass(frozen=True)
class UploadBody:
    """The body of an upload; it may be iterated again, for a retry.

    httpx's own multipart reads files on the event loop, hence this.

    Attributes:
        request: goes first, as part `request`.
        path: the video, sent as part `video`.
        size: of the video, in bytes; what the file has beyond it is not sent.
        boundary: separates the parts.
    """

    request: BaseModel
    path: Path
    size: int
    boundary: str = field(default_factory=lambda: f"winnow-{secrets.token_hex(16)}")

    @classmethod
    async def of(cls, path: Path, request: BaseModel) -> "UploadBody":
        """The body for a file as it is now.

        Raises:
            OSError: the file cannot be looked at, or is a directory, a pipe or a device.
        """
        found = await to_thread.run_sync(path.stat)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("not a regular file")
        return cls(request=request, path=path, size=found.st_size)

    @property
    def headers(self) -> dict[str, str]:
        """Content type, and the length: with it the server can refuse before it reads."""
        length = len(self._before()) + self.size + len(self._after())
        return {"Content-Type": f"multipart/form-data; boundary={self.boundary}", "Content-Length": str(length)}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._before()
        left = self.size
        with await to_thread.run_sync(self.path.open, "rb") as file:
            while left > 0:
                chunk = await to_thread.run_sync(file.read, min(_READ_BYTES, left))
                if not chunk:
                    raise OSError(f"{self.path.name} became shorter while it was sent")
                left -= len(chunk)
                yield chunk
        yield self._after()

    def _before(self) -> bytes:
        json_part = (
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="request"\r\n'
            "Content-Type: application/json\r\n\r\n"
        )
        video_part = (
            f'\r\n--{self.boundary}\r\nContent-Disposition: form-data; name="video"; filename="{self._filename()}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        return json_part.encode() + self.request.model_dump_json().encode() + video_part.encode()

    def _after(self) -> bytes:
        return f"\r\n--{self.boundary}--\r\n".encode()

    def _filename(self) -> str:
        # Escaped as browsers do it (WHATWG HTML, multipart/form-data encoding algorithm).
        name = self.path.name.encode("utf-8", "replace").decode()
        return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
