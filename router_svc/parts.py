"""Puts the seed bank together from the settings: records, storage, index, encoder; tests give parts of their own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx

from router_svc.assets import load_background, load_encoder_of
from router_svc.bank import VectorIndex
from router_svc.batcher import EmbedBatcher
from router_svc.decode_pool import DecodePool
from router_svc.decode_worker import DecodeTask, decode_task
from router_svc.metrics import RouterMetrics
from router_svc.seeds import (
    Engine,
    Operators,
    Reindexing,
    SeedBank,
    SeedEmbedder,
    SeedMedia,
    SeedRecords,
    SeedService,
    SeedWatch,
    Serving,
    Upkeep,
)
from router_svc.seeds.tables import metadata
from router_svc.settings import Settings
from router_svc.state import configuration_of
from services.contracts import EncoderSpec
from services.database import Database
from services.encoder import Encoder
from services.storage import Storage


@dataclass(frozen=True)
class Parts:
    """What an app is built from where it differs from what the settings say; for tests.

    Attributes:
        encoder: makes an encoder; runs in a thread.
        index: makes the index for an encoder.
        ranker_transport: carries calls to the ranker instead of the network.
        decode: what a decoder process does with a job; a module-level function.
    """

    encoder: Callable[[EncoderSpec], Encoder] | None = None
    index: Callable[[Encoder], VectorIndex] | None = None
    ranker_transport: httpx.AsyncBaseTransport | None = None
    decode: DecodeTask = decode_task


@dataclass(frozen=True)
class SeedParts:
    """The seed bank of a running router."""

    operators: Operators
    upkeep: Upkeep


@asynccontextmanager
async def open_seeds(
    settings: Settings, parts: Parts, decoders: DecodePool, metrics: RouterMetrics
) -> AsyncIterator[SeedParts]:
    """The seed bank, open for the block; a database or an index that is late is named by readiness until it is there.

    Raises:
        AssetError: the encoder cannot be loaded.
        StoreUrlError: the URL of the database cannot be used.
        ValueError: the URL of the storage cannot be used.
    """
    async with AsyncExitStack() as stack:
        database = Database(
            settings.database,
            metadata,
            pool_size=settings.database_pool_size,
            timeout_s=settings.database_timeout_s,
        )
        records = SeedRecords(database)
        stack.push_async_callback(records.close)
        media = SeedMedia(Storage(settings.seed_storage))
        embedder = SeedEmbedder(records, media)

        watch = SeedWatch(
            window=settings.seed_watch_videos,
            min_videos=min(settings.seed_watch_min, settings.seed_watch_videos),
            max_share=settings.seed_max_share,
            min_judged=settings.seed_min_judged,
            max_refuted=settings.seed_max_refuted,
        )

        async def start(spec: EncoderSpec | None) -> Serving:
            engine = await _engine(settings, parts, spec or settings.encoder, metrics)
            return Serving(
                engine,
                records,
                embedder,
                metrics,
                timeout_s=settings.bank_timeout_s,
                became_active=watch.restart,
            )

        bank = SeedBank(records, start, metrics, sync_s=settings.bank_sync_s, check_s=settings.bank_check_s)
        stack.push_async_callback(bank.close)
        await bank.open()
        reindexing = Reindexing(records, bank, embedder, settings.encoder)
        upkeep = Upkeep(
            bank,
            records,
            media,
            watch,
            reindexing,
            metrics,
            count_s=settings.seed_count_s,
            removed_days=settings.seed_removed_days,
        )
        stack.push_async_callback(upkeep.close)
        await upkeep.start()
        seeds = SeedService(settings, bank, records, media, decoders)
        yield SeedParts(Operators(seeds, bank, reindexing), upkeep)


async def _engine(settings: Settings, parts: Parts, spec: EncoderSpec, metrics: RouterMetrics) -> Engine:
    load = parts.encoder or (lambda spec: load_encoder_of(spec, settings.encoder_device))
    encoder = await asyncio.to_thread(load, spec)
    background = await asyncio.to_thread(load_background, settings, encoder, spec)
    batcher = EmbedBatcher(
        encoder,
        max_frames=settings.embed_batch_frames,
        max_waiting=settings.embed_waiting,
        metrics=metrics,
        retry_after_s=settings.retry_after_s,
    )
    await batcher.start()
    index = (parts.index or (lambda encoder: _index(settings, encoder)))(encoder)
    return Engine(spec, encoder, background, configuration_of(settings, background), batcher, index)


def _index(settings: Settings, encoder: Encoder) -> VectorIndex:
    """On a server where one is named, else in a directory of this process."""
    if settings.qdrant_url is None:
        from router_svc.bank.edge import EdgeIndex

        path = settings.index_path or settings.data_dir / "router" / "index"
        return EdgeIndex(path, encoder.fingerprint, encoder.dim, memory_vectors=settings.index_memory_vectors)
    from router_svc.bank.qdrant import QdrantIndex

    return QdrantIndex(
        settings.qdrant_url,
        encoder.fingerprint,
        encoder.dim,
        api_key=settings.qdrant_api_key,
        timeout_s=settings.qdrant_timeout_s,
        threads=settings.qdrant_threads,
        grpc_port=settings.qdrant_grpc_port,
        replicas=settings.qdrant_replicas,
        shards=settings.qdrant_shards,
    )
