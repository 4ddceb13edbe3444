"""The ranker's settings, read from `WINNOW_RANKER_*`."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.settings import InternalSettings

EngineName = Literal["reference", "deterministic"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]


def bundled_model() -> str:
    """Directory of the small model that ships with the service."""
    return str(Path(__file__).with_name("models") / "demo")


class Settings(InternalSettings):
    """Settings of the ranker."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_RANKER_")

    port: int = Field(default=8082, ge=0, le=65_535, description="TCP port to bind; 0 takes a free one.")
    max_body_bytes: int = Field(default=16 * 1024 * 1024, gt=0, description="Most bytes of a request body.")
    engine: EngineName = Field(
        default="reference",
        description="`reference`: transformers in this process. `deterministic`: a hash instead of a model, for tests.",
    )
    model: str = Field(
        default_factory=bundled_model,
        min_length=1,
        description="Directory or hub id of a checkpoint of the LLaVA architecture; the bundled one by default.",
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit of a model from a hub.")
    dtype: Dtype = Field(default="float32", description="Precision of the weights; `auto` keeps the checkpoint's.")
    device: str = Field(default="cpu", description="Torch device, e.g. `cpu`, `cuda` or `cuda:1`.")
    threads: int | None = Field(default=None, ge=1, description="CPU threads of torch; its own choice if unset.")
    question_batch: int = Field(
        default=16, ge=1, description="Questions in one forward pass; each holds a copy of the frames' key-value cache."
    )
    max_waiting: int = Field(
        default=32, ge=1, description="Requests that may wait or be answered at once; more are refused with 429."
    )
    retry_after_s: float = Field(default=1.0, gt=0, description="Seconds that a refused caller is told to wait.")
    max_frames: int = Field(default=16, ge=1, le=64, description="Most frames of a request.")
    max_image_pixels: int = Field(default=1_048_576, ge=1, description="Most pixels of one frame.")
    max_context_chars: int = Field(
        default=400, ge=0, le=20_000, description="Most bytes of the uploader's text that the model is shown."
    )
    min_answer_mass: float = Field(
        default=0.5, ge=0, le=1, description="An answer with less of its distribution on Yes and No draws a warning."
    )
    calibrators_dir: Path | None = Field(
        default=None, description="Directory of calibrators; `calibrators` in the model's directory if unset."
    )
