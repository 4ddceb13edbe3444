"""From frames to the tensor that an open_clip model takes: pictures one by one, their numbers all at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_LEVELS = 255.0


def prepare(transform: Any, frames: Sequence[npt.NDArray[np.uint8]]) -> Tensor:
    """[n, 3, size, size] float32, the same numbers as `transform` gives for each frame.

    Where the transform ends as open_clip's do, in a conversion to a tensor and a normalisation, these two are done once
    for all frames: one by one they cost a fifth of the small model's time, most of it under the interpreter's lock.

    Args:
        transform: open_clip's preprocessing for inference.
        frames: n frames, [height, width, 3] uint8 RGB, at least one.
    """
    from PIL import Image

    images = [Image.fromarray(frame) for frame in frames]
    steps: Sequence[Any] = getattr(transform, "transforms", ())
    if not _ends_as_usual(steps):
        return torch.stack([transform(image) for image in images])
    pictures = [np.asarray(reduce(lambda made, step: step(made), steps[:-2], image)) for image in images]
    numbers = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    pixels = numbers.to(torch.float32, memory_format=torch.contiguous_format)
    mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (steps[-1].mean, steps[-1].std))
    return pixels.div_(_LEVELS).sub_(mean).div_(std)


def _ends_as_usual(steps: Sequence[Any]) -> bool:
    from torchvision.transforms import Normalize, ToTensor

    return len(steps) >= 2 and isinstance(steps[-2], ToTensor) and isinstance(steps[-1], Normalize)
