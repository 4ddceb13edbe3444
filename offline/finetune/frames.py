"""Frames of the training videos as the router would send them to the ranker, decoded once and kept on disk."""

import io
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import track

from services.errors import WinnowError
from services.fingerprint import fingerprint
from services.media import SamplingPlan, encode_jpeg
from services.media.decode import decode_frames

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class FrameSettings:
    """How the router makes the ranker's frames: most frames, their short side (pixels), JPEG quality (1 to 95)."""

    frames: int
    short_side: int
    jpeg_quality: int


@dataclass(frozen=True)
class Frames:
    """Frames of a video: RGB images and their times, seconds, increasing."""

    images: tuple["Image", ...]
    times_s: tuple[float, ...]


@dataclass(frozen=True)
class FrameCache:
    """JPEG files of each video's frames, one archive a video, named by its path, size, time and the settings.

    Attributes:
        folder: of the archives; several runs may share it.
        settings: of the frames.
    """

    folder: Path
    settings: FrameSettings

    def fill(self, videos: Sequence[Path], console: Console, *, workers: int) -> None:
        """Decode what is missing, in `workers` processes.

        Raises:
            ValueError: videos that cannot be decoded, each with the reason.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = [video for video in dict.fromkeys(videos) if not self._path(video).exists()]
        if not missing:
            return
        with ExitStack() as stack:
            results: Iterable[str | None]
            if workers > 1:
                # Not fork: this process may have threads of torch.
                pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=get_context("spawn")))
                results = pool.map(partial(_decoded, self), missing, chunksize=4)
            else:
                results = map(partial(_decoded, self), missing)
            told = track(results, "frames", total=len(missing), console=console, disable=console.quiet)
            refused = [each for each in told if each]
        if refused:
            more = f"\nand {len(refused) - 20} more" if len(refused) > 20 else ""
            raise ValueError("videos that cannot be decoded; take their lines out:\n" + "\n".join(refused[:20]) + more)

    def decode(self, video: Path) -> None:
        """Write a video's archive; errors as `decode_frames`."""
        decoded = decode_frames(video, plan=SamplingPlan(), short_side=self.settings.short_side)
        chosen = spread(len(decoded.frames), self.settings.frames)
        path = self._path(video)
        # Two runs may fill the cache at the same time.
        partial_path = path.with_name(f"{path.name}.{np.random.default_rng().integers(1 << 62):x}")
        with zipfile.ZipFile(partial_path, "w") as archive:
            for index in chosen:
                jpeg = encode_jpeg(decoded.frames[index], self.settings.jpeg_quality)
                archive.writestr(f"{decoded.times_s[index]!r}.jpg", jpeg)
        partial_path.replace(path)

    def load(self, video: Path) -> Frames:
        """The frames of a video that was decoded."""
        from PIL import Image

        with zipfile.ZipFile(self._path(video)) as archive:
            names = archive.namelist()
            images = tuple(
                Image.open(io.BytesIO(archive.read(name)), formats=("JPEG",)).convert("RGB") for name in names
            )
        return Frames(images, tuple(float(name.removesuffix(".jpg")) for name in names))

    def _path(self, video: Path) -> Path:
        status = video.stat()
        state = {"path": str(video.resolve()), "size": status.st_size, "mtime_ns": status.st_mtime_ns}
        return self.folder / f"{fingerprint({**state, **asdict(self.settings)})[:32]}.zip"


def spread(count: int, wanted: int) -> tuple[int, ...]:
    """Indices of `wanted` of `count` frames, evenly spread: the router's choice where no frame matches any seed."""
    if count <= wanted:
        return tuple(range(count))
    return tuple(int((i + 0.5) * count / wanted) for i in range(wanted))


def _decoded(cache: FrameCache, video: Path) -> str | None:
    try:
        cache.decode(video)
    except WinnowError as error:
        return f"{video}: {error.detail}"
    except Exception as error:
        # PyAV's errors are many, and a hostile file finds the ones that nobody expects.
        return f"{video}: {type(error).__name__}: {error}"
    return None
