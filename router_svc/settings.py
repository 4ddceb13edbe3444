"""The router's settings, read from `WINNOW_ROUTER_*`, `DATABASE_URL` and `QDRANT_URL`."""

from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from router_svc.decode_wire import DecodeJob
from router_svc.sandbox import Confinement
from services.contracts.seeds import MAX_SEED_FRAMES, EncoderSpec
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
    seed_frames: int = Field(default=4, ge=1, le=MAX_SEED_FRAMES, description="Frames, and so vectors, of one seed.")
    seed_jpeg_quality: int = Field(
        default=95, ge=1, le=95, description="JPEG quality of the frames that are kept of a seed."
    )
    seed_storage_url: str | None = Field(
        default=None,
        description="Where frames of seeds are kept: `file:///...`, `s3://bucket/prefix`; unset: in `data_dir`. "
        "Replicas share it.",
    )
    seed_removed_days: float = Field(
        default=30.0,
        gt=0,
        description="Days for which the frames of a removed seed are kept, so that it can come back.",
    )
    seed_watch_videos: int = Field(
        default=2_000, ge=10, le=1_000_000, description="Videos of recent traffic that the watch looks back on."
    )
    seed_watch_min: int = Field(
        default=200, ge=1, description="Videos that it must have seen before it quarantines for their share."
    )
    seed_max_share: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="A seed that surely matches more than this share of recent traffic is quarantined; 1: never.",
    )
    seed_min_judged: int = Field(
        default=50, ge=1, description="Hits that the ranker must have judged before a seed is quarantined for them."
    )
    seed_max_refuted: float = Field(
        default=0.98,
        gt=0,
        le=1,
        description="A seed whose hits the ranker surely refutes to more than this share is quarantined; 1: never.",
    )
    seed_count_s: float = Field(
        default=5.0, gt=0, le=600, description="Seconds between two batches of the seeds' statistics."
    )

    database_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("WINNOW_ROUTER_DATABASE_URL", "DATABASE_URL"),
        description="Where seed records are kept: `sqlite:///...` or `postgresql://...`; none: SQLite in `data_dir`. "
        "Replicas share it.",
    )
    database_pool_size: int = Field(default=5, ge=1, le=1_000, description="Connections to PostgreSQL of one process.")
    database_timeout_s: float = Field(default=5.0, gt=0, description="Seconds for one database call.")
    bank_sync_s: float = Field(
        default=0.5, gt=0, le=2, description="Seconds between two looks at the records for seeds that others changed."
    )
    bank_timeout_s: float = Field(
        default=2.0, gt=0, description="Seconds for a search; afterwards the bank counts as down for this video."
    )
    bank_check_s: float = Field(
        default=600.0, gt=0, description="Seconds between two comparisons of the whole index with the records."
    )
    index_path: Path | None = Field(
        default=None, description="Directory of the embedded index; unset: in `data_dir`. One process alone uses it."
    )
    index_memory_vectors: int = Field(
        default=200_000,
        ge=0,
        description="Vectors that the embedded index also holds in memory; with more, on disk alone.",
    )
    qdrant_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("WINNOW_ROUTER_QDRANT_URL", "QDRANT_URL"),
        description="URL of a Qdrant server or cluster; unset: the embedded index.",
    )
    qdrant_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("WINNOW_ROUTER_QDRANT_API_KEY", "QDRANT_API_KEY"),
        description="API key of the Qdrant server.",
    )
    qdrant_grpc_port: int | None = Field(
        default=None, ge=1, le=65_535, description="Port of the server's gRPC; unset: HTTP is spoken."
    )
    qdrant_timeout_s: int = Field(default=5, ge=1, description="Seconds for one call to a Qdrant server.")
    qdrant_threads: int = Field(default=8, ge=1, description="Calls at a time to a Qdrant server.")
    qdrant_replicas: int = Field(
        default=1, ge=1, le=16, description="Copies of each shard in a cluster, for new collections."
    )
    qdrant_shards: int = Field(default=1, ge=1, le=256, description="Shards of a new collection.")
    bank_max_issues: int = Field(default=512, ge=1, description="Most issues that the bank holds seeds of.")
    matches_per_frame: int = Field(default=8, ge=1, le=100, description="Vectors fetched for each frame and issue.")
    matches_returned: int = Field(default=5, ge=1, le=50, description="Seeds named as evidence for each issue.")

    background_path: Path | None = Field(
        default=None, description="Background of the similarities; `background.json` beside the encoder if unset."
    )
    negative_weight: float = Field(default=0.5, ge=0, le=10, description="How much a look-alike lowers the risk.")
    negative_margin: float = Field(
        default=0.75, ge=0, le=1, description="Level that a look-alike must exceed to count."
    )

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

    def decode_job(self, path: Path, plan: SamplingPlan, input_size: int) -> DecodeJob:
        """What a decoder is asked for a file, with frames as large as the larger of ranker and encoder wants them."""
        return DecodeJob(
            path=path,
            plan=plan,
            short_side=max(self.frame_short_side, input_size),
            limits=self.limits,
            cpu_s=self.decode_cpu_s,
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
    def encoder(self) -> EncoderSpec:
        """The encoder that is named here; the one that serves is the bank's."""
        return EncoderSpec(
            model=self.encoder_model, pretrained=self.encoder_pretrained, precision=self.encoder_precision
        )

    @property
    def database(self) -> str:
        """URL of the database; it may hold a password."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{(self.data_dir / 'router' / 'router.db').absolute()}"

    @property
    def seed_storage(self) -> str:
        """URL of the storage of the seeds' frames."""
        return self.seed_storage_url or (self.data_dir / "router" / "seeds").absolute().as_uri()

    @property
    def spool_dir(self) -> Path:
        """Directory of uploads in flight."""
        return self.data_dir / "router" / "spool"
