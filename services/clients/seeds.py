"""The seed bank over HTTP: the same calls to the router and, for operators, to the gateway."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from services.clients import http
from services.clients.multipart import UploadBody
from services.contracts import (
    BankStatus,
    ReindexRequest,
    ReindexStatus,
    Seed,
    SeedChange,
    SeedCopy,
    SeedFilter,
    SeedPage,
    SeedRequest,
    SwitchRequest,
)
from services.deadline import Deadline
from services.errors import WinnowError

M = TypeVar("M", bound=BaseModel)

ACTOR_HEADER = "Winnow-Actor"
"""Who asks, as the gateway tells the router: the id of an API key, or `local`."""

_CREATED = 201
_JPEG = b"\xff\xd8"


class SeedCalls:
    """Calls about seeds and the bank.

    Args:
        client: whose connections are used; it stays its owner's to close.
        unavailable: raised where the service cannot be asked.
        service: what it is called in messages, e.g. `router`.

    Every call raises DeadlineExceeded when its deadline passes, `unavailable` where the service cannot be asked, and
    whatever error the service answers with: NotFound, Conflict, PreconditionFailed ... `actor` is who asks, where the
    caller asks for somebody else.
    """

    def __init__(self, client: httpx.AsyncClient, unavailable: type[WinnowError], service: str) -> None:
        self._client = client
        self._unavailable = unavailable
        self._service = service

    async def add(
        self, path: Path | None, request: SeedRequest, deadline: Deadline, *, actor: str | None = None
    ) -> tuple[Seed, bool]:
        """Adds a seed; the answer says whether the bank did not have it yet.

        Args:
            path: the video; None for a sentence, and for a NewSeed that names where its video is.
            request: what it shows.
            deadline: of the call.
            actor: who adds it.

        Raises:
            Conflict: the bank had it, and it was removed.
            OSError: the file cannot be read.
        """
        if path is None:
            response = await self._json("POST", "/v1/seeds", http.compact(request), deadline, actor)
        else:
            body = await UploadBody.of(path, request)
            headers = {**body.headers, **_by(actor)}
            response = await self._call("POST", "/v1/seeds", deadline, content=body, headers=headers)
        return self._result(response, Seed), response.status_code == _CREATED

    async def page(self, asked: SeedFilter, deadline: Deadline) -> SeedPage:
        """Some of the seeds that a filter names, newest first."""
        params = {name: str(value) for name, value in asked.model_dump(exclude_none=True).items()}
        return self._result(await self._call("GET", "/v1/seeds", deadline, params=params), SeedPage)

    async def get(self, seed_id: str, deadline: Deadline) -> Seed:
        """A seed, also a removed one; NotFound where there is none."""
        return self._result(await self._call("GET", _path(seed_id), deadline), Seed)

    async def change(
        self, seed_id: str, change: SeedChange, deadline: Deadline, *, version: int | None, actor: str | None = None
    ) -> Seed:
        """Changes a seed, and answers it as it is then.

        Args:
            seed_id: the seed.
            change: what is named in it changes.
            deadline: of the call.
            version: that the change is based on; None changes it whatever it has become.
            actor: who changes it.

        Raises:
            PreconditionFailed: the seed has another version by now.
        """
        body = change.model_dump_json(exclude_unset=True).encode()
        headers = {**http.json_headers(), **_if_match(version), **_by(actor)}
        return self._result(await self._call("PATCH", _path(seed_id), deadline, content=body, headers=headers), Seed)

    async def remove(
        self, seed_id: str, why: str, deadline: Deadline, *, version: int | None, actor: str | None = None
    ) -> Seed:
        """Removes a seed, and answers its tombstone; arguments and errors as in `change`."""
        headers = {**_if_match(version), **_by(actor)}
        response = await self._call("DELETE", _path(seed_id), deadline, params={"why": why}, headers=headers)
        return self._result(response, Seed)

    async def frame(self, seed_id: str, index: int, deadline: Deadline) -> bytes:
        """The JPEG file of a seed's frame, counted from 0; NotFound where there is none."""
        response = await self._call("GET", f"{_path(seed_id)}/frames/{index}", deadline)
        if response.is_error:
            raise http.error_of(response)
        if not response.content.startswith(_JPEG):
            raise self._cannot(http.CallFailed("the answer is not a JPEG file"))
        return response.content

    async def copy(self, seed_id: str, deadline: Deadline) -> SeedCopy:
        """A seed with all that it is made of."""
        return self._result(await self._call("GET", f"{_path(seed_id)}/copy", deadline), SeedCopy)

    async def restore(self, copy: SeedCopy, deadline: Deadline, *, actor: str | None = None) -> tuple[Seed, bool]:
        """Puts a copy into the bank; the answer says whether the bank did not have the seed yet."""
        response = await self._json("POST", "/v1/seeds/restore", http.compact(copy), deadline, actor)
        return self._result(response, Seed), response.status_code == _CREATED

    async def bank(self, deadline: Deadline) -> BankStatus:
        """How large the bank is, and what it is searched with."""
        return self._result(await self._call("GET", "/v1/bank", deadline), BankStatus)

    async def reindex(self, request: ReindexRequest, deadline: Deadline, *, actor: str | None = None) -> ReindexStatus:
        """Starts to index the bank with another encoder; Conflict where that is being done."""
        response = await self._json("POST", "/v1/bank/reindex", http.compact(request), deadline, actor)
        return self._result(response, ReindexStatus)

    async def switch(self, request: SwitchRequest, deadline: Deadline, *, actor: str | None = None) -> BankStatus:
        """Makes one of the two encoders that the bank has vectors of the live one."""
        response = await self._json("POST", "/v1/bank/switch", http.compact(request), deadline, actor)
        return self._result(response, BankStatus)

    async def _json(self, method: str, path: str, body: bytes, deadline: Deadline, actor: str | None) -> httpx.Response:
        headers = {**http.json_headers(), **_by(actor)}
        return await self._call(method, path, deadline, content=body, headers=headers)

    async def _call(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        *,
        content: bytes | UploadBody | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        try:
            return await http.call(
                self._client, method, path, deadline=deadline, content=content, headers=headers, params=params
            )
        except http.CallFailed as error:
            raise self._cannot(error) from error

    def _result(self, response: httpx.Response, model: type[M]) -> M:
        try:
            return http.result(response, model)
        except http.CallFailed as error:
            raise self._cannot(error) from error

    def _cannot(self, why: http.CallFailed) -> WinnowError:
        return self._unavailable(f"The {self._service} cannot be asked: {why}.")


def _path(seed_id: str) -> str:
    return f"/v1/seeds/{quote(seed_id, safe='')}"


def _if_match(version: int | None) -> dict[str, str]:
    return {"If-Match": "*" if version is None else f'"{version}"'}


def _by(actor: str | None) -> dict[str, str]:
    return {} if actor is None else {ACTOR_HEADER: actor}
