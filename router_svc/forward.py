"""Asks the ranker about a risky video, and says why there is no answer where there is none."""

import asyncio
import base64
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.clients import RankerClient
from services.contracts import Context, Frame, IssueQuestions, RankMissing, RankRequest, RankResult
from services.deadline import Deadline
from services.errors import (
    DeadlineExceeded,
    InvalidPayload,
    MalformedRequest,
    Overloaded,
    TooLarge,
    WinnowError,
)
from services.media import encode_jpeg
from services.scoring import choose_frames

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Forwarded:
    """The ranker's answer, or the reason that there is none; and the indices of the frames that it judged."""

    result: RankResult | None
    missing: RankMissing | None
    frames: tuple[int, ...] = ()


class Forwarder:
    """Sends frames to the ranker.

    Args:
        client: of the ranker pool; None where there is no ranker.
        frames: most frames of a request.
        jpeg_quality: of the frames, 1 to 95.
        min_s: the ranker is not asked with less time than this left, seconds.
        reserve_s: kept back from the deadline, so that a late ranker does not make the router late, seconds.
    """

    def __init__(
        self, client: RankerClient | None, *, frames: int, jpeg_quality: int, min_s: float, reserve_s: float
    ) -> None:
        self._client = client
        self._frames = frames
        self._jpeg_quality = jpeg_quality
        self._min_s = min_s
        self._reserve_s = reserve_s

    async def ask(
        self,
        frames: Sequence[npt.NDArray[np.uint8]],
        times_s: Sequence[float],
        evidence: Sequence[int],
        issues: tuple[IssueQuestions, ...],
        context: Context,
        deadline: Deadline,
    ) -> Forwarded:
        """Asks about `issues`; never raises for a ranker that gives no answer.

        Args:
            frames: of the video, [height, width, 3] uint8 RGB.
            times_s: their times, seconds.
            evidence: frames of the best matches, best first.
            issues: to judge.
            context: of the video.
            deadline: of the whole request.
        """
        if self._client is None:
            return Forwarded(None, "unavailable")
        left = deadline.remaining() - self._reserve_s
        if left < self._min_s:
            return Forwarded(None, "deadline")
        chosen = choose_frames(len(frames), evidence, self._frames)
        try:
            pictures = await asyncio.to_thread(self._encode, [frames[index] for index in chosen])
            sent = [Frame(time_s=times_s[index], jpeg=jpeg) for index, jpeg in zip(chosen, pictures, strict=True)]
            request = RankRequest(frames=tuple(sent), context=context, issues=issues)
            ranker_deadline = Deadline.after(deadline.remaining() - self._reserve_s, deadline.clock)
            return Forwarded(await self._client.rank(request, ranker_deadline), None, chosen)
        except WinnowError as error:
            reason = _reason(error)
            logger.warning("no answer of the ranker", extra={"reason": reason, "detail": error.detail})
            return Forwarded(None, reason)

    def _encode(self, frames: Sequence[npt.NDArray[np.uint8]]) -> list[bytes]:
        # The contract's type reads base64, also from Python.
        return [base64.b64encode(encode_jpeg(frame, self._jpeg_quality)) for frame in frames]


def _reason(error: WinnowError) -> RankMissing:
    match error:
        case Overloaded():
            return "overloaded"
        case DeadlineExceeded():
            return "deadline"
        case InvalidPayload() | MalformedRequest() | TooLarge():
            return "refused"
        case _:
            return "unavailable"
