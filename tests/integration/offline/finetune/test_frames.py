"""Frames for training are those that the router sends, and no video is decoded twice."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from offline.finetune.frames import FrameCache, FrameSettings, spread
from router_svc.forward import choose_frames
from services.media import SamplingPlan, encode_jpeg
from services.media.decode import decode_frames
from tests.media_factory import counting, render

SETTINGS = FrameSettings(frames=3, short_side=32, jpeg_quality=80)


@pytest.mark.parametrize("wanted", [1, 3, 4, 8, 16])
@pytest.mark.parametrize("count", [1, 3, 8, 9, 32])
def test_the_choice_is_the_routers(count: int, wanted: int) -> None:
    assert spread(count, wanted) == choose_frames(count, (), wanted)


def test_frames_are_as_served(tmp_path: Path, quiet: Console) -> None:
    video = render(tmp_path / "v.mp4", lambda i: counting(i, 96, 64), frames=40)
    cache = FrameCache(tmp_path / "cache", SETTINGS)
    cache.fill([video, video], quiet, workers=0)
    found = cache.load(video)
    decoded = decode_frames(video, plan=SamplingPlan(), short_side=32)
    chosen = choose_frames(len(decoded.frames), (), 3)
    assert found.times_s == tuple(decoded.times_s[i] for i in chosen)
    for image, index in zip(found.images, chosen, strict=True):
        sent = Image.open(io.BytesIO(encode_jpeg(decoded.frames[index], 80))).convert("RGB")
        assert image.size == (48, 32)
        assert np.array_equal(np.asarray(image), np.asarray(sent))
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_decoded_video_is_not_decoded_again(tmp_path: Path, quiet: Console) -> None:
    video = render(tmp_path / "v.mp4")
    cache = FrameCache(tmp_path / "cache", SETTINGS)
    cache.fill([video], quiet, workers=0)
    before, status = cache.load(video), video.stat()
    video.write_bytes(bytes(status.st_size))
    os.utime(video, ns=(status.st_atime_ns, status.st_mtime_ns))
    cache.fill([video], quiet, workers=0)
    assert cache.load(video).times_s == before.times_s
    # A video that changed is another one, and this one cannot be decoded.
    os.utime(video)
    with pytest.raises(ValueError, match=r"v\.mp4: "):
        cache.fill([video], quiet, workers=0)
    # Other settings are other frames.
    assert not FrameCache(tmp_path / "cache", FrameSettings(2, 32, 80))._path(video).exists()


def test_all_that_cannot_be_decoded_is_named(tmp_path: Path, quiet: Console) -> None:
    good = render(tmp_path / "good.mp4")
    bad = [tmp_path / f"bad{i}.mp4" for i in range(2)]
    for path in bad:
        path.write_bytes(b"no video " * 100)
    with pytest.raises(ValueError, match="take their lines out") as raised:
        FrameCache(tmp_path / "cache", SETTINGS).fill([bad[0], good, bad[1]], quiet, workers=2)
    assert [path.name in str(raised.value) for path in (*bad, good)] == [True, True, False]
