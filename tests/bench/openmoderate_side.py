"""A helper process that runs openmoderate's `analyze_video`, with an open_clip model whose weights lie in a file."""

import time
from typing import Any

from tests.bench.helper import Command, serve


class Side:
    """A Moderator, made by the first command."""

    def __init__(self) -> None:
        self.moderator: Any = None

    def answer(self, command: Command) -> dict[str, Any]:
        """`model` and `weights` load; `path`, `frames` and `duration_s` analyse that many frames over the length."""
        if "weights" in command:
            from services.torchvision_compat import ensure_torchvision

            ensure_torchvision()  # openmoderate imports open_clip, which imports torchvision
            from openmoderate import ModerationConfig, Moderator

            # Its trimming of plain borders would make other pictures of the same frames.
            names = {"model_name": command["model"], "pretrained": command["weights"]}
            config = ModerationConfig(**names, trim_borders=False)
            self.moderator = Moderator(config=config, device="cpu")
            self.moderator.engine.encode_texts(["loads the model"])
            return {"labels": len(self.moderator.category_names)}
        started, cpu = time.perf_counter(), time.process_time()
        result = self.moderator.analyze_video(
            command["path"],
            fps=command["frames"] / command["duration_s"],
            max_frames=command["frames"],
            keep_frame_scores=True,
        )
        return {
            "seconds": time.perf_counter() - started,
            "cpu": time.process_time() - cpu,
            "frames": result.frames_analyzed,
            "times_s": [row["time"] for row in result.frame_scores],
            "scores": [list(row["scores"].values()) for row in result.frame_scores],
        }


if __name__ == "__main__":
    serve(Side().answer)
