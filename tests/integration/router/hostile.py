"""What hostile files do to a decoder, as functions that a decoder process can import."""

import os
import time

from router_svc.decode_worker import DecodeJob, decode_task, limit_cpu
from services.media.decode import DecodedVideo


def by_content(job: DecodeJob) -> DecodedVideo:
    """Obeys a file that begins with a command; decodes any other."""
    match job.path.read_bytes()[:8]:
        case b"DIE-----":
            os._exit(139)
        case b"HANG----":
            while True:
                time.sleep(60)
        case b"SPIN----":
            limit_cpu(job.cpu_s)
            while True:
                burn()
        case b"EAT-----":
            raise MemoryError(len(bytearray(8 * 1024**3)))
        case b"RAISE---":
            raise KeyError("a bug of the decoder")
        case b"MODULES-":
            import sys

            raise KeyError(",".join(sorted({"torch", "fastapi", "qdrant_client", "open_clip"} & set(sys.modules))))
    return decode_task(job)


def burn() -> int:
    """Burns CPU."""
    return sum(range(10_000))
