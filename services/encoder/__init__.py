"""Frames and sentences in, unit vectors out. Torch and open_clip are imported by `open_clip` and `head` alone."""

from services.encoder.hashing import HashEncoder
from services.encoder.protocol import Encoder, TextUnsupported

__all__ = ["Encoder", "HashEncoder", "TextUnsupported"]
