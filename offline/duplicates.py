"""Which videos are the same: equal bytes, equal to the eye (perceptual hashes of frames), or of one group."""

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.console import Console
from rich.progress import track

from offline.manifest import Labelled
from services.media import MediaLimits, SamplingPlan
from services.media.decode import decode_frames

FRAMES = 4
HASH_SIDE = 64
NEAR_BITS = 4
"""Of the 64 bits of a frame's perceptual hash, how many may differ on average in near-duplicates."""
FLAT_LEVELS = 4.0
"""Standard deviation of grey levels below which a frame shows nothing that a hash could tell."""

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Looked:
    """What one video's file tells.

    Attributes:
        sha256: of its bytes.
        duration_s: its length; nan where it cannot be decoded.
        hashes: of FRAMES frames; empty where it cannot be decoded or where frames are plain.
        error: why it cannot be decoded.
    """

    sha256: str
    duration_s: float = float("nan")
    hashes: tuple[int, ...] = ()
    error: str = ""


def look(row: Labelled) -> Looked:
    """Hash a video's bytes and a few of its frames; whatever is wrong with it is told in `error`."""
    sha256 = ""
    try:
        with row.file.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        plan = SamplingPlan(min_frames=FRAMES, max_frames=FRAMES)
        video = decode_frames(row.file, plan=plan, short_side=HASH_SIDE, limits=MediaLimits())
    except Exception as error:
        # The other videos are looked at whatever this one holds.
        return Looked(sha256, error=f"{type(error).__name__}: {error}")
    return Looked(sha256, video.facts.duration_s, frame_hashes(video.frames))


def frame_hashes(frames: Sequence[npt.NDArray[np.uint8]]) -> tuple[int, ...]:
    """FRAMES perceptual hashes of 64 bits, frames of shorter videos repeated; none where half of them are plain.

    Args:
        frames: at least one, [height, width, 3] uint8 RGB.
    """
    pictures = [Image.fromarray(frame) for frame in frames]
    if 2 * sum(float(np.asarray(each.convert("L")).std()) < FLAT_LEVELS for each in pictures) >= len(pictures):
        return ()
    found = [int(str(imagehash.phash(each)), 16) for each in pictures]
    return tuple(found[index * len(found) // FRAMES] for index in range(FRAMES))


def look_at_all(rows: Sequence[Labelled], console: Console, *, workers: int = 2) -> list[Looked]:
    """Read every video once, about 20 ms for a short one. A video that ends its decoder's process counts as broken."""
    context = get_context("spawn")
    found: list[Looked | None] = []
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = [pool.submit(look, row) for row in rows]
        for future in track(futures, "reading videos", len(rows), console=console):
            try:
                found.append(future.result())
            except BrokenProcessPool:
                found.append(None)
    # Those that were lost with the processes are read one by one, so that the one that ends them is found.
    lost = [index for index, each in enumerate(found) if each is None]
    while lost:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            while lost:
                index = lost.pop(0)
                try:
                    found[index] = pool.submit(look, rows[index]).result()
                except BrokenProcessPool:
                    found[index] = Looked("", error="the decoder crashed")
                    break
    return [each for each in found if each is not None]


def same_bytes(looked: Sequence[Looked]) -> list[list[int]]:
    """Groups of at least two videos with equal bytes, by index."""
    return _together(each.sha256 or None for each in looked)


def same_look(looked: Sequence[Looked]) -> list[list[int]]:
    """Groups of videos of different bytes that look alike; the first one of equal bytes stands for the others."""
    first: dict[str, int] = {}
    for index, each in enumerate(looked):
        if each.hashes:
            first.setdefault(each.sha256, index)
    alone = list(first.values())
    hashes = np.array([looked[index].hashes for index in alone], dtype=np.uint64).reshape(-1, FRAMES)
    return [[alone[index] for index in group] for group in near_groups(hashes)]


def same_group(rows: Sequence[Labelled]) -> list[list[int]]:
    """Groups of at least two videos that the manifest says belong together, by index."""
    return _together(row.group or None for row in rows)


def near_groups(hashes: Hashes, *, cells: int = 4_000_000) -> list[list[int]]:
    """Groups of at least two rows whose hashes differ by at most NEAR_BITS bits a frame on average, chained.

    Args:
        hashes: [n, frames], 64 bits each. Time grows with n squared: about 10 s for 20,000.
        cells: pairs that are compared at once, which bounds memory.
    """
    unique, owner = np.unique(hashes, axis=0, return_inverse=True)
    owner = owner.reshape(-1)
    first, second = [], []
    step = max(1, cells // max(1, len(unique)))
    for start in range(0, len(unique), step):
        part = unique[start : start + step]
        distance = np.zeros((len(part), len(unique)), dtype=np.uint16)
        for frame in range(hashes.shape[1]):
            distance += np.bitwise_count(part[:, frame, None] ^ unique[None, :, frame])
        row, column = np.nonzero(distance <= NEAR_BITS * hashes.shape[1])
        first.append(row + start)
        second.append(column)
    pairs = [pair for a, b in zip(first, second, strict=True) for pair in zip(a.tolist(), b.tolist(), strict=True)]
    label = components(len(unique), pairs)
    return _together(label[int(each)] for each in owner)


def components(count: int, groups: Iterable[Sequence[int]]) -> list[int]:
    """A label for each of `count` things: two have the same where a chain of groups joins them."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = [(group[0], other) for group in groups for other in group[1:]]
    row, column = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(pairs), dtype=bool), (row, column)), shape=(count, count))
    return [int(label) for label in connected_components(graph, directed=False)[1]]


def _together(keys: Iterable[Hashable | None]) -> list[list[int]]:
    """Indexes with equal keys, groups of one and those without a key left out."""
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        if key is not None:
            groups.setdefault(key, []).append(index)
    return [group for group in groups.values() if len(group) > 1]
