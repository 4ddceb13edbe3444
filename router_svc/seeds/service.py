"""What operators do with seeds: add, list, change, remove, copy; a seed is searchable here before it is answered."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from router_svc.bank import Vectors, seed_id_of
from router_svc.decode_pool import DecodePool
from router_svc.decode_wire import DecodeJob
from router_svc.seeds.bank import SeedBank
from router_svc.seeds.media import SeedMedia
from router_svc.seeds.records import SeedRecords
from router_svc.seeds.serving import Serving
from router_svc.settings import Settings
from services.contracts import Seed, SeedChange, SeedCopy, SeedFilter, SeedPage, SeedRequest, SeedVectors
from services.deadline import Deadline
from services.encoder import TextUnsupported
from services.errors import Conflict, InvalidPayload, NotFound, NotReady
from services.media import SamplingPlan
from services.media.jpeg import decode_jpeg, encode_jpeg
from services.web import StoredUpload

Frames = Sequence[npt.NDArray[np.uint8]]

UNIT = 1e-3
"""How far the length of an imported vector may be from 1."""
MAX_ASPECT = 32
"""Of an imported frame, long side to short: an encoder may enlarge the short one to its input, and the long one too."""


@dataclass(frozen=True)
class SeedService:
    """Every call keeps the request's deadline, and raises NotReady where records, storage or index do not answer."""

    settings: Settings
    bank: SeedBank
    records: SeedRecords
    media: SeedMedia
    decoders: DecodePool

    async def add_video(
        self, upload: StoredUpload, request: SeedRequest, by: str, deadline: Deadline
    ) -> tuple[Seed, bool]:
        """Add a segment of a video; True where it is new.

        Raises:
            InvalidPayload: a text seed, a segment outside the video, one issue too many.
            Conflict: it was removed.
            WinnowError: what the decoder says; Overloaded, DeadlineExceeded, Internal.
        """
        deadline.check()
        if request.text is not None:
            raise InvalidPayload("A seed of kind `text` is a sentence: send the JSON alone, without a video.")
        async with self.bank.use() as serving:
            self._check_room(request.issue)
            video = await self.decoders.decode(self._job(upload, request, serving), deadline)
            length = video.facts.duration_s
            end_s = length if request.end_s is None else min(request.end_s, length)
            vectors = await serving.engine.batcher.embed(video.frames, deadline)
            frames = await asyncio.to_thread(self._files, video.frames)
            seed = _new_seed(request, upload.sha256, end_s, len(vectors), by)
            async with deadline.limit():
                return await self._add(serving, seed, vectors, frames)

    async def add_text(self, request: SeedRequest, by: str, deadline: Deadline) -> tuple[Seed, bool]:
        """Add a sentence; True where it is new.

        Raises:
            InvalidPayload: there is no sentence, the live encoder has no text side, or one issue too many.
            Conflict: it was removed.
            DeadlineExceeded: the deadline passed first.
        """
        deadline.check()
        if request.text is None:
            raise InvalidPayload("Without a video the seed must be a sentence: kind `text`, and `text`.")
        async with self.bank.use() as serving, deadline.limit():
            self._check_room(request.issue)
            try:
                vectors = await serving.engine.batcher.embed_texts([request.text])
            except TextUnsupported as error:
                raise InvalidPayload(f"The encoder in use takes no sentences: {error}.") from error
            seed = _new_seed(request, sha256(request.text.encode()).hexdigest(), 0.0, 1, by)
            return await self._add(serving, seed, vectors, ())

    async def restore(self, copy: SeedCopy, by: str, deadline: Deadline) -> tuple[Seed, bool]:
        """Add a seed of another bank with all that it has, its state and tombstone too; True where it is new.

        One that this bank has stays as it is.

        Raises:
            InvalidPayload: id, frames or vectors do not fit to the seed, or one issue too many.
            NotReady: also where it is recorded, and its vectors could not be made yet.
            DeadlineExceeded: the deadline passed first.
        """
        seed = copy.seed
        if seed.id != seed_id_of(seed.sha256, seed.issue, seed.kind, seed.start_s, seed.end_s):
            raise InvalidPayload("The seed's id does not belong to its bytes, segment, issue and kind.")
        needed = 0 if seed.kind == "text" else seed.vectors
        # The frames of a removed seed may be gone.
        if len(copy.frames) != needed and not (seed.state == "removed" and not copy.frames):
            raise InvalidPayload(f"The seed has {seed.vectors} vectors and comes with {len(copy.frames)} frames.")
        for data in copy.frames:
            await asyncio.to_thread(_check_frame, data)
        async with self.bank.use() as serving, deadline.limit():
            self._check_room(seed.issue)
            vectors = _vectors_of(copy, serving)
            known = await self._known(seed.id)
            if known is None or known.state != "removed":
                await self._keep(known or seed, copy.frames)
            given = {} if vectors is None else {serving.fingerprint: vectors}
            kept, new = await self.records.restore(seed, given, by=by)
            return await self._searchable(kept), new

    async def copy(self, seed_id: str) -> SeedCopy:
        """A seed with its frames and its vectors under the live encoder. Raises NotFound."""
        seed = await self.records.get(seed_id)
        serving = self.bank.serving
        vectors = (await serving.stored_vectors([seed_id])).get(seed_id)
        frames: list[bytes] = []
        if seed.text is None:
            try:
                frames = await self.media.frames(seed_id, seed.vectors)
            except NotFound:
                if seed.state != "removed":
                    raise
        return SeedCopy.model_construct(
            seed=seed,
            frames=tuple(frames),
            vectors=None
            if vectors is None
            else SeedVectors.model_construct(
                encoder=serving.fingerprint, dim=vectors.shape[1], data=vectors.astype("<f4").tobytes()
            ),
        )

    async def get(self, seed_id: str) -> Seed:
        """A seed. Raises NotFound."""
        return await self.records.get(seed_id)

    async def page(self, asked: SeedFilter) -> SeedPage:
        """Some of the seeds. Raises InvalidPayload for a cursor that is none of ours."""
        return await self.records.page(asked)

    async def frame(self, seed_id: str, index: int) -> bytes:
        """A frame of a seed as a JPEG file. Raises NotFound."""
        seed = await self.records.get(seed_id)
        if seed.text is not None or index >= seed.vectors:
            raise NotFound("The seed has no such frame.")
        return await self.media.frame(seed_id, index)

    async def change(self, seed_id: str, change: SeedChange, version: int | None, by: str) -> Seed:
        """Change a seed; None as the version is any.

        Raises:
            NotFound, PreconditionFailed: there is none, or not of this version.
            Conflict: a removed seed, and not to be active again; or its frames are gone.
            NotReady: also where it is recorded, and its vectors could not be made yet.
        """
        if change.state == "active":
            known = await self.records.get(seed_id)
            if known.state == "removed" and known.text is None and not await self.media.has(seed_id, known.vectors):
                # Without them no other encoder could ever go live.
                raise Conflict("The frames of the seed have been deleted: add its video again, then make it active.")
        return await self._searchable(await self.records.change(seed_id, change, version=version, by=by))

    async def remove(self, seed_id: str, why: str, version: int | None, by: str) -> Seed:
        """Remove a seed but for its tombstone. Errors as `change`."""
        seed = await self.records.remove(seed_id, why, version=version, by=by)
        await self.bank.catch_up()
        return seed

    async def _add(self, serving: Serving, seed: Seed, vectors: Vectors, frames: Sequence[bytes]) -> tuple[Seed, bool]:
        """Frames first, record last: what the records name is whole."""
        # Those of a removed seed too: with them it can be made active again, else they are soon deleted.
        await self._keep(await self._known(seed.id) or seed, frames)
        kept, new = await self.records.add(seed, {serving.fingerprint: vectors})
        return await self._searchable(kept), new

    async def _known(self, seed_id: str) -> Seed | None:
        try:
            return await self.records.get(seed_id)
        except NotFound:
            return None

    async def _keep(self, seed: Seed, frames: Sequence[bytes]) -> None:
        """Store frames unless the seed has its own: those are what its vectors were made of, and may be others."""
        if frames and len(frames) == seed.vectors and not await self.media.has(seed.id, seed.vectors):
            await self.media.put(seed.id, frames)

    async def _searchable(self, seed: Seed) -> Seed:
        """The seed once it is searched for, if it is to be. Raises NotReady where its vectors could not be made."""
        serving = self.bank.serving
        await serving.catch_up()
        if serving.catalogue.misses(seed.id):
            raise NotReady("The seed is recorded, but its vectors could not be made; the log of the router says why.")
        return seed

    def _check_room(self, issue: str) -> None:
        """Raises InvalidPayload for one issue too many: what is asked about an issue must stay readable."""
        issues = self.bank.require().issues()
        most = self.settings.bank_max_issues
        if issue not in issues and len(issues) >= most:
            raise InvalidPayload(f"The bank has seeds of {len(issues)} issues; the limit is {most}.")

    def _job(self, upload: StoredUpload, request: SeedRequest, serving: Serving) -> DecodeJob:
        count = self.settings.seed_frames
        job = self.settings.decode_job(
            upload.path, SamplingPlan(min_frames=count, max_frames=count), serving.engine.encoder.input_size
        )
        return replace(job, start_s=request.start_s, end_s=request.end_s)

    def _files(self, frames: Frames) -> list[bytes]:
        return [encode_jpeg(frame, self.settings.seed_jpeg_quality) for frame in frames]


def _new_seed(request: SeedRequest, digest: str, end_s: float, vectors: int, by: str) -> Seed:
    now = datetime.now(UTC)
    return Seed(
        id=seed_id_of(digest, request.issue, request.kind, request.start_s, end_s),
        version=1,
        issue=request.issue,
        kind=request.kind,
        state=request.state,
        share=request.share,
        expires_at=request.expires_at,
        text=request.text,
        start_s=request.start_s,
        end_s=end_s,
        sha256=digest,
        vectors=vectors,
        note=request.note,
        created_at=now,
        created_by=by,
        updated_at=now,
        updated_by=by,
    )


def _check_frame(data: bytes) -> None:
    height, width, _ = decode_jpeg(data).shape
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise InvalidPayload(
            f"A frame of {width} x {height} pixels is too long; its sides may differ {MAX_ASPECT}-fold."
        )


def _vectors_of(copy: SeedCopy, serving: Serving) -> Vectors | None:
    """The vectors of a copy, [k, dim], where they are of the serving encoder; InvalidPayload where they cannot be."""
    given = copy.vectors
    if given is None or given.encoder != serving.fingerprint:
        return None
    if given.dim != serving.engine.encoder.dim or len(given.data) != 4 * given.dim * copy.seed.vectors:
        raise InvalidPayload("The vectors have another size than those of this encoder.")
    vectors = np.frombuffer(given.data, "<f4").reshape(copy.seed.vectors, given.dim).astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.all(np.abs(lengths - 1.0) < UNIT):
        raise InvalidPayload("The vectors do not have length 1.")
    return vectors
