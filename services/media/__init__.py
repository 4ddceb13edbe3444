"""Video files in, a few frames out: limits, sampling times, decoding and JPEG. PyAV is imported by `reader` alone."""

from services.media.jpeg import decode_jpeg, encode_jpeg
from services.media.limits import MediaLimits
from services.media.sampling import SamplingPlan, sample_times

__all__ = ["MediaLimits", "SamplingPlan", "decode_jpeg", "encode_jpeg", "sample_times"]
