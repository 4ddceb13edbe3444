"""A seed's share of traffic: which videos it is compared with. Pure."""

import hashlib

_SCALE = 1 << 64


def takes_part(sha256: str, seed_id: str, share: float) -> bool:
    """Whether a seed with this share of traffic is compared with a video: always the same answer for the same two.

    A raised share keeps the videos that it had: the hash of (content, seed) is a point in [0, 1), compared with it.

    Args:
        sha256: of the video's bytes.
        seed_id: the seed.
        share: in (0, 1]; 1 is every video.
    """
    if share >= 1.0:
        return True
    point = int.from_bytes(hashlib.sha256(f"{sha256} {seed_id}".encode()).digest()[:8], "big")
    return point < share * _SCALE
