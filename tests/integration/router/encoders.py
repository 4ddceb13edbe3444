"""Two encoders by the names of their settings, and waiting for the second one to go live."""

import asyncio

from services.contracts import BankStatus, EncoderSpec
from services.encoder import Encoder, HashEncoder
from tests.integration.router.conftest import Running, soon

FINE = EncoderSpec(model="grid-6")


def by_name(spec: EncoderSpec) -> Encoder:
    return HashEncoder(grid=6 if spec.model == "grid-6" else 4)


OLD, NEW = HashEncoder(4).fingerprint, HashEncoder(6).fingerprint


async def until_live(router: Running, encoder: str) -> BankStatus:
    async with asyncio.timeout(30):
        while True:
            status = await router.client.bank(soon())
            if status.reindex is not None and status.reindex.state == "failed":
                return status
            if status.encoder == encoder:
                return status
            await asyncio.sleep(0.05)
