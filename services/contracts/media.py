"""Facts about a decoded video."""

from pydantic import Field

from services.contracts.base import ResultModel, Seconds


class MediaFacts(ResultModel):
    """What the container and the decoder say about a video."""

    duration_s: Seconds
    width: int = Field(gt=0, description="Pixels, as displayed: after rotation.")
    height: int = Field(gt=0, description="Pixels, as displayed: after rotation.")
    fps: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Average frames a second, where the container says it."
    )
    video_codec: str = Field(description="Codec name as FFmpeg gives it, e.g. `h264`.")
    container: str = Field(description="Container format name as FFmpeg gives it, e.g. `mov,mp4,m4a,3gp,3g2,mj2`.")
    has_audio: bool
    size_bytes: int = Field(ge=0)
