"""What shapes this router's results now: encoder, bank, configuration, and the model of the ranker pool."""

from dataclasses import asdict, dataclass

from router_svc.seeds import SeedBank
from router_svc.settings import Settings
from services.clients import RankerClient
from services.contracts import ModelIdentity, RouterState
from services.deadline import Deadline
from services.fingerprint import fingerprint, shaping_settings
from services.remembered import Remembered
from services.scoring import Background
from services.web.app import installed_version

RANKER_TIMEOUT_S = 0.5
"""Within this the ranker's replicas say who they are; one that does not is left out."""

RANKER_TTL_S = 5.0
"""For so long their answer holds: half as often at most is every replica asked by every router."""

WITHOUT_EFFECT = (
    # Encoder's fingerprint, background's content, bank's revision and ranker's identity speak for these.
    "encoder_model",
    "encoder_pretrained",
    "encoder_precision",
    "background_path",
    "seed_frames",
    "seed_jpeg_quality",
    "seed_storage_url",
    "seed_removed_days",
    "seed_watch_videos",
    "seed_watch_min",
    "seed_max_share",
    "seed_min_judged",
    "seed_max_refuted",
    "seed_count_s",
    "database_url",
    "index_path",
    "qdrant_url",
    "qdrant_api_key",
    "qdrant_grpc_port",
    "qdrant_replicas",
    "qdrant_shards",
    "ranker_urls",
    "ranker_token",
    # How much at once, and for how long.
    "max_requests",
    "retry_after_s",
    "upload_timeout_s",
    "max_json_bytes",
    "embed_batch_frames",
    "embed_waiting",
    "decode_workers",
    "decode_waiting",
    "decode_timeout_s",
    "decode_cpu_s",
    "decode_memory_bytes",
    "decode_tasks_per_worker",
    "decode_nice",
    "decode_confinement",
    "database_pool_size",
    "database_timeout_s",
    "bank_sync_s",
    "bank_timeout_s",
    "bank_check_s",
    "bank_max_issues",
    "index_memory_vectors",
    "qdrant_timeout_s",
    "qdrant_threads",
    "forward_min_s",
    "forward_reserve_s",
)
"""Settings that change no result, or whose change shows elsewhere in the state."""


def configuration_of(settings: Settings, background: Background) -> str:
    """64 hex digits over settings, the background's content and the installed version, which stands for the code."""
    return fingerprint(
        {
            "version": installed_version(),
            "settings": shaping_settings(settings, without=WITHOUT_EFFECT),
            "background": asdict(background),
        }
    )


def remembered_ranker(ranker: RankerClient) -> Remembered[ModelIdentity]:
    """The identity of the ranker pool."""
    return Remembered(
        lambda: ranker.identity(Deadline.after(RANKER_TIMEOUT_S)), ttl_s=RANKER_TTL_S, name="the ranker's identity"
    )


@dataclass(frozen=True)
class StateReport:
    """Tells what holds now.

    Attributes:
        bank: the seed bank, with the encoder that serves.
        ranker: of the pool; None where the router has no ranker.
    """

    bank: SeedBank
    ranker: Remembered[ModelIdentity] | None

    async def state(self) -> RouterState:
        """The state now; the ranker's part is at most RANKER_TTL_S old.

        Raises:
            NotReady: the bank is not in step with its records.
        """
        summary = self.bank.summary()
        return RouterState(
            encoder=summary.encoder,
            bank_revision=summary.revision,
            configuration=self.bank.serving.engine.configuration,
            ranker=None if self.ranker is None else await self.ranker.current(),
        )
