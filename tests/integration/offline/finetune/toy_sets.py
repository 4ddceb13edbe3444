"""Tiny data sets D1, D2 and D3 about videos of one colour each: red ones violate."""

import json
from pathlib import Path
from typing import Any

from tests.media_factory import BLUE, GREEN, RED, flat, render

COLOURS = {"red": RED, "green": GREEN, "blue": BLUE}
FINE = "Does this video show arson? Answer Yes or No."
OVERALL = "Does this video violate the policy? Answer Yes or No."


def write_toy_sets(folder: Path, videos: int = 9) -> Path:
    """Videos of a second each, and a question-answer pair, a caption and two questions of D3 about each."""
    (folder / "videos").mkdir(parents=True)
    parts: dict[str, list[dict[str, Any]]] = {"d1": [], "d2": [], "d3": []}
    for index in range(videos):
        name = list(COLOURS)[index % len(COLOURS)]
        path = f"videos/{index}.mp4"
        # Sizes differ, so that videos of a colour are different files.
        render(folder / path, lambda _, i=index, c=COLOURS[name]: flat(c, 48 + 4 * i, 48), frames=9)  # type: ignore[misc]
        guilty = "Yes" if name == "red" else "No"
        add(parts["d1"], "d1", path, "Is it red? Answer Yes or No.", guilty)
        add(parts["d2"], "d2", path, "Describe this video.", f"a {name} picture, nothing else.")
        add(parts["d3"], "d3", path, FINE, guilty, level="fine_grained", template="P2", issue="arson")
        add(parts["d3"], "d3", path, OVERALL, guilty, level="overall", template="P2")
    for part, lines in parts.items():
        write_lines(folder / f"{part}.jsonl", lines)
    return folder


def add(lines: list[dict[str, Any]], part: str, video: str, prompt: str, answer: str, **more: Any) -> None:
    line = {"id": f"{part}-{len(lines)}", "video": video, "prompt": prompt, "answer": answer, "dataset": part}
    lines.append({**line, "issue": None, "level": None, "template": None, "title": "", **more})


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
