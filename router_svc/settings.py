"""The router's settings, read from `WINNOW_ROUTER_*` and `QDRANT_URL`."""

from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from router_svc.sandbox import Confinement
from services.media import MediaLimits, SamplingPlan
from services.settings import InternalSettings

Precision = Literal["fp32", "bf16", "fp16"]


def bundled_model() -> str:
    """Directory of the small encoder that ships with the service."""
    return str(resources.files("router_svc") / "models" / "demo")


class Settings(InternalSettings):
    """Settings of the router."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_ROUTER_", populate_by_name=True)

    port: int = Field(default=8081, ge=0, le=65_535, description="TCP port to bind; 0 takes a free one.")
    max_requests: int = Field(default=64, ge=1, description="Videos uploaded or processed at once; more get 429.")
    retry_after_s: float = Field(default=1.0, gt=0, description="Seconds that a refused caller is told to wait.")
    upload_timeout_s: float = Field(default=60.0, gt=0, description="Seconds for an upload to arrive.")
    max_video_bytes: int = Field(default=512 * 1024**2, gt=0, description="Largest video, bytes.")
    max_json_bytes: int = Field(
        default=4 * 1024**2,
        gt=0,
        description="Largest JSON part, bytes; the largest policy slice in text of four bytes a character fits.",
    )

    encoder_model: str = Field(
        default_factory=bundled_model,
        min_length=1,
        description="open_clip model name, `hf-hub:` name, or directory; the bundled one by default.",
    )
    encoder_pretrained: str | None = Field(default=None, description="Tag or file of the weights of a model name.")
    encoder_device: str = Field(default="cpu", description="Torch device, e.g. `cpu` or `cuda`.")
    encoder_precision: Precision = Field(default="fp32", description="Precision of the encoder's computation.")
    embed_batch_frames: int = Field(default=64, ge=1, description="Most frames of one pass through the encoder.")
    embed_waiting: int = Field(default=64, ge=1, description="Videos that may wait for the encoder; more get 429.")

    decode_workers: int = Field(default=2, ge=1, description="Decoder processes.")
    decode_waiting: int = Field(default=32, ge=0, description="Videos that may wait for a decoder; more get 429.")
    decode_timeout_s: float = Field(
        default=20.0, gt=0, description="Seconds for one video, after which its decoder is killed."
    )
    decode_cpu_s: float = Field(
        default=15.0, gt=0, description="CPU seconds for one video, after which its decoder is killed."
    )
    decode_nice: int = Field(default=5, ge=0, le=19, description="Added to the niceness of decoders.")
    decode_confinement: Confinement = Field(
        default="preferred",
        description="Filter of the decoders' system calls. `required`: without it the router does not start. "
        "`preferred`: it starts and warns. `off`: none.",
    )
    decode_memory_bytes: int = Field(
        default=1536 * 1024**2, ge=512 * 1024**2, description="Address space of a decoder."
    )
    decode_tasks_per_worker: int = Field(default=500, ge=0, description="Videos until a decoder is replaced; 0: never.")
    max_duration_s: float = Field(default=4 * 3600.0, gt=0, description="Longest video, seconds.")
    max_pixels: int = Field(default=7680 * 4320, gt=0, description="Most pixels of a frame.")
    max_decoded_frames: int = Field(default=20_000, ge=1, description="Most frames decoded of one video.")

    frames_min: int = Field(default=8, ge=1, le=64, description="Frames of a short video.")
    frames_max: int = Field(default=32, ge=1, le=256, description="Most frames, whatever the length.")
    seconds_per_frame: float = Field(default=4.0, gt=0, description="A longer video gets a frame for so many seconds.")
    frame_short_side: int = Field(
        default=336,
        ge=16,
        description="Frames are scaled down to this, or to the encoder's input where that is larger.",
    )
    seed_frames: int = Field(default=4, ge=1, le=64, description="Frames, and so vectors, of one seed.")

    qdrant_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("WINNOW_ROUTER_QDRANT_URL", "QDRANT_URL"),
        description="URL of a Qdrant server; unset: local mode in `data_dir`.",
    )
    qdrant_api_key: SecretStr | None = Field(default=None, description="API key of the Qdrant server.")
    qdrant_path: Path | None = Field(default=None, description="Directory of local mode; if unset, in `data_dir`.")
    qdrant_timeout_s: int = Field(default=5, ge=1, description="Seconds for one call to a Qdrant server.")
    qdrant_threads: int = Field(default=8, ge=1, description="Calls at a time to a Qdrant server; local mode has one.")
    bank_max_issues: int = Field(
        default=512, ge=1, description="Most issues that the bank holds seeds of; each has collections of its own."
    )
    matches_per_frame: int = Field(default=8, ge=1, le=100, description="Vectors fetched for each frame and issue.")
    matches_returned: int = Field(default=5, ge=1, le=50, description="Seeds named as evidence for each issue.")

    background_path: Path | None = Field(
        default=None, description="Background of the similarities; `background.json` beside the encoder if unset."
    )
    negative_weight: float = Field(default=0.5, ge=0, le=10, description="How much a look-alike lowers the risk.")
    negative_margin: float = Field(default=0.5, ge=0, le=1, description="Level that a look-alike must exceed to count.")

    ranker_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("http://127.0.0.1:8082",), description="Ranker replicas, separated by commas; `none`: no ranker."
    )
    ranker_token: SecretStr | None = Field(default=None, description="Service token of the ranker.")
    rank_frames: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Most frames sent to the ranker; the bundled one is trained on 4.",
    )
    jpeg_quality: int = Field(default=90, ge=1, le=95, description="JPEG quality of those frames.")
    forward_min_s: float = Field(
        default=0.25, ge=0, description="The ranker is not asked with less time than this left."
    )
    forward_reserve_s: float = Field(default=0.1, ge=0, description="Seconds kept back to answer without the ranker.")

    @field_validator("ranker_urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            # An empty variable counts as unset.
            return () if value.strip() == "none" else tuple(url.strip() for url in value.split(",") if url.strip())
        return value

    @property
    def sampling(self) -> SamplingPlan:
        """Which frames of a video are looked at."""
        return SamplingPlan(
            min_frames=min(self.frames_min, self.frames_max),
            seconds_per_frame=self.seconds_per_frame,
            max_frames=self.frames_max,
        )

    @property
    def limits(self) -> MediaLimits:
        """Which videos are refused."""
        return MediaLimits(
            max_duration_s=self.max_duration_s,
            max_pixels=self.max_pixels,
            max_decoded_frames=self.max_decoded_frames,
            max_bytes=self.max_video_bytes,
        )

    @property
    def spool_dir(self) -> Path:
        """Directory of uploads in flight."""
        return self.data_dir / "router" / "spool"
