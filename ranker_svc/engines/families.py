"""What differs between model families: frames as images or as one video, their sizes, and what an engine is told."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ranker_svc.engines.protocol import EngineStartError
from ranker_svc.settings import FramesWish

logger = logging.getLogger(__name__)

FramesAs = Literal["images", "video"]

_QWEN_CELLS = (128, 768)
"""Fewest and most cells of a video's frame, by the authors' qwen-vl-utils; a cell is one token of an image."""


class Size(list[int]):
    """Height and width, hashable: vLLM keeps processors by their arguments, transformers wants lists there."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self))


@dataclass(frozen=True)
class Family:
    """How the frames of a request are put before models of one `config.model_type`.

    Attributes:
        model_type: of the checkpoint's config.
        frames: every frame an image of its own, or all of them one video.
        config: entries of the checkpoint's config that are replaced; the processor's of the same name with them.
        processor: keyword arguments of the processor, given how many frames a request may have.
        least_frames: a video with fewer has its last frame repeated.
        frame_tokens: most tokens of a frame of ordinary size, with room for some text.
    """

    model_type: str
    frames: FramesAs
    config: Mapping[str, Any] = field(default_factory=dict)
    processor: Callable[[int], Mapping[str, Any]] = lambda max_frames: {}
    least_frames: int = 1
    frame_tokens: int = 640

    def engine_arguments(self, max_frames: int) -> dict[str, Any]:
        """Arguments that vLLM needs for this family, by their names in its `EngineArgs`.

        Args:
            max_frames: most frames of a request.
        """
        video = self.frames == "video"
        arguments: dict[str, Any] = {
            "limit_mm_per_prompt": {"image": 0, "video": 1} if video else {"image": max_frames, "video": 0}
        }
        if processor := {**self.config, **self.processor(max_frames)}:
            arguments["mm_processor_kwargs"] = processor
        if self.config:
            arguments["hf_overrides"] = dict(self.config)
        return arguments

    def adapt(self, processor: Any, config: Any) -> None:
        """Replace the entries in a processor and a model's config that are loaded already."""
        for name, value in self.config.items():
            setattr(config, name, value)
            setattr(processor.image_processor, name, value)


def family_of(config: Any, frames_as: FramesWish = "auto") -> Family:
    """The family of a checkpoint; an unknown one gets its frames as images, with a warning.

    Args:
        config: the checkpoint's transformers config.
        frames_as: `images` or `video` overrules the family's own choice.

    Raises:
        EngineStartError: the family does not take frames in the way that is wanted.
    """
    model_type = str(getattr(config, "model_type", "unknown"))
    make = _FAMILIES.get(model_type)
    if make is None:
        logger.warning("unknown model type: frames go in as images", extra={"model_type": model_type})
        make = _images
    family = make(config, frames_as)
    if frames_as not in ("auto", family.frames):
        raise EngineStartError(f"models of type {model_type!r} take no {frames_as} (WINNOW_RANKER_FRAMES_AS)")
    return family


def _images(config: Any, wish: FramesWish) -> Family:
    """Frames as images, nothing else: LLaVA 1.5 (576 tokens a frame at 336 px), and whatever is not known."""
    return Family(config.model_type, "images")


def _llava_next(config: Any, wish: FramesWish) -> Family:
    """One tile of the tower's size beside the overview: at 336 px at most 1,176 tokens a frame, not 2,880."""
    side = config.vision_config.image_size
    rows = side // config.vision_config.patch_size
    return Family(
        config.model_type,
        "images",
        config={"image_grid_pinpoints": [Size([side, side])]},
        # Overview, tile, and a token at the end of each of the tile's rows.
        frame_tokens=max(640, 2 * rows * rows + rows),
    )


def _llava_onevision(config: Any, wish: FramesWish) -> Family:
    """A video costs 196 tokens a frame; an image 729 and its tiles, which transformers and vLLM count differently."""
    return Family(config.model_type, "video")


def _qwen2_5_vl(config: Any, wish: FramesWish) -> Family:
    """Two frames share their tokens in a video; the limits of the size are those of one frame."""
    size = _pixels(config)
    if wish == "images":
        return Family(config.model_type, "images", processor=lambda max_frames: {"images_kwargs": {"size": size}})
    return Family(config.model_type, "video", processor=lambda max_frames: {"videos_kwargs": {"size": size}})


def _qwen3_vl(config: Any, wish: FramesWish) -> Family:
    """As Qwen2.5-VL, but the limits of a video's size are those of all its frames together, of which it needs two."""
    size = _pixels(config)
    if wish == "images":
        return Family(config.model_type, "images", processor=lambda max_frames: {"images_kwargs": {"size": size}})

    def processor(max_frames: int) -> Mapping[str, Any]:
        whole = {**size, "longest_edge": size["longest_edge"] * max(2, max_frames)}
        return {"videos_kwargs": {"size": whole, "cap_pixels_per_frame": True}}

    return Family(config.model_type, "video", processor=processor, least_frames=2)


def _pixels(config: Any) -> dict[str, int]:
    cell = (config.vision_config.patch_size * config.vision_config.spatial_merge_size) ** 2
    fewest, most = _QWEN_CELLS
    # transformers' names for areas: the least and the greatest number of pixels.
    return {"shortest_edge": fewest * cell, "longest_edge": most * cell}


_FAMILIES: Mapping[str, Callable[[Any, FramesWish], Family]] = {
    "llava": _images,
    "llava_next": _llava_next,
    "llava_onevision": _llava_onevision,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
}
