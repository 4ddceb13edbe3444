"""What the router believes of a decoder's reply: what fits the job, and nothing else."""

import json
import socket
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from router_svc.decode_wire import BrokenReply, DecodeJob, receive_reply, send_reply
from services.contracts import MediaFacts
from services.media import MediaLimits, SamplingPlan
from services.media.decode import DecodedVideo

JOB = DecodeJob(
    path=Path("video"), plan=SamplingPlan(min_frames=1, max_frames=2), short_side=4, limits=MediaLimits(), cpu_s=1.0
)
FACTS = MediaFacts(
    duration_s=1.0, width=8, height=8, fps=1.0, video_codec="h264", container="mp4", has_audio=False, size_bytes=1
)


def received(reply: Any, pixels: int) -> Any:
    body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(struct.pack("!IQ", len(body), pixels) + body)
        theirs.shutdown(socket.SHUT_WR)  # whoever reads on finds the end and not what was refused
        return receive_reply(ours, JOB)


def decoded(sizes: list[Any], times: list[Any]) -> dict[str, Any]:
    facts = FACTS.model_dump()
    return {"decoded": {"facts": facts, "strategy": "whole", "times_s": times, "sizes": sizes}}


def test_a_reply_arrives_as_it_was_sent() -> None:
    frames = [np.full((4, 16, 3), 7, np.uint8), np.full((8, 4, 3), 9, np.uint8)]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send_reply(theirs, DecodedVideo(FACTS, (0.0, 0.5), frames, "whole"))
        answer = receive_reply(ours, JOB)
    assert isinstance(answer, DecodedVideo)
    assert (answer.facts, answer.times_s) == (FACTS, (0.0, 0.5))
    assert all(np.array_equal(got, sent) for got, sent in zip(answer.frames, frames, strict=True))


@pytest.mark.parametrize(
    ("reply", "pixels"),
    [
        (b"no JSON", 0),
        ({}, 0),
        (decoded([], []), 0),
        (decoded([(4, 4)], [0.0, 1.0]), 48),
        (decoded([(1, 1)] * 3, [0.0, 1.0, 2.0]), 9),
        (decoded([(5, 5)], [0.0]), 75),
        (decoded([(1, 17)], [0.0]), 51),
        (decoded([(0, 4)], [0.0]), 0),
        (decoded([(-1, -1)], [0.0]), 3),
        (decoded([(4, 4)], [0.0]), 2**40),
        (decoded([(4, 4)], [-1.0]), 48),
        (json.dumps(decoded([(4, 4)], [0.0])).replace("0.0]", "1e999]").encode(), 48),
    ],
)
def test_a_reply_that_does_not_fit_the_job_is_none(reply: Any, pixels: int) -> None:
    with pytest.raises(BrokenReply):
        received(reply, pixels)


def test_a_reply_that_announces_too_much_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(struct.pack("!IQ", 2**30, 0))
        with pytest.raises(BrokenReply):
            receive_reply(ours, JOB)
