"""The commands, by what they print and how they exit; the gateway behind `moderate` is a real HTTP server."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI, Request, Response
from typer.testing import CliRunner

from services.contracts import ModerationRequest
from services.errors import UnsupportedMedia
from services.web import media_type, parse_body, parse_part, receive_upload
from tests.unit.cli.test_report import decision, issue
from tests.web import serving_in_thread
from winnow.cli import app
from winnow.supervisor import free_port


class Gateway:
    """Answers block, or not_a_video for a file that begins with `text`; keeps what it was asked."""

    def __init__(self, spool: Path) -> None:
        self.asked: list[ModerationRequest] = []
        self.tokens: list[str | None] = []
        self.app = FastAPI()

        @self.app.post("/v1/decisions")
        async def decide(request: Request) -> Response:
            if media_type(request) == "application/json":
                self.asked.append(parse_body(ModerationRequest, await request.body()))
                answer = decision("block", issue("arson", "block", 0.9, 0.95))
                return Response(answer.model_dump_json(), media_type="application/json")
            upload = await receive_upload(
                request, spool_dir=spool, max_video_bytes=1000, max_json_bytes=1000, timeout_s=5
            )
            async with upload:
                self.asked.append(parse_part(ModerationRequest, upload.json))
                self.tokens.append(request.headers.get("Authorization"))
                if upload.path.read_bytes() == b"interrupt":
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                    await asyncio.sleep(1)
                if upload.path.read_bytes().startswith(b"text"):
                    problem = UnsupportedMedia("The bytes are not a video.").problem("r")
                    return Response(problem.model_dump_json(), 415, media_type="application/problem+json")
            answer = decision("block", issue("arson", "block", 0.9, 0.95))
            return Response(answer.model_dump_json(), media_type="application/json")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[Gateway, str]]:
    stand_in = Gateway(tmp_path / "spool")
    with serving_in_thread(stand_in.app) as url:
        yield stand_in, url


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"frames")
    return path


def test_moderate_prints_a_table_for_people(gateway: tuple[Gateway, str], video: Path) -> None:
    stand_in, url = gateway
    result = CliRunner().invoke(app, ["moderate", str(video), "--url", url, "--issue", "arson", "--title", "Hello"])
    assert result.exit_code == 0, result.output
    assert "clip.mp4" in result.output
    assert "block" in result.output
    assert "0.90 / 0.50" in result.output
    assert stand_in.asked[0].issues == ("arson",)
    assert stand_in.asked[0].context.title == "Hello"


def test_moderate_prints_whole_decisions_as_json(
    gateway: tuple[Gateway, str], video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in, url = gateway
    monkeypatch.setenv("WINNOW_URL", url)
    monkeypatch.setenv("WINNOW_API_KEY", "secret")
    result = CliRunner().invoke(app, ["moderate", str(video), str(video), "--json"])
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["verdict"] for line in lines] == ["block", "block"]
    assert lines[0]["issues"][0]["probability"] == 0.95
    assert stand_in.asked[0].issues is None
    assert stand_in.tokens == ["Bearer secret"] * 2


def test_moderate_has_the_gateway_fetch_urls(gateway: tuple[Gateway, str], video: Path) -> None:
    stand_in, url = gateway
    where = "HTTPS://cdn.example/videos/holiday.mp4?token=secret#t=1"
    result = CliRunner().invoke(app, ["moderate", where, str(video), "--url", url, "--title", "Hello"])
    assert result.exit_code == 0, result.output
    assert [each.url for each in stand_in.asked] == [where, None]
    assert [each.context.title for each in stand_in.asked] == ["Hello", "Hello"]
    assert "holiday.mp4" in result.output
    assert "secret" not in result.output
    too_long = CliRunner().invoke(app, ["moderate", "http://h/" + "a" * 5_000, "--url", url])
    assert too_long.exit_code == 1
    assert "The URL cannot be used" in too_long.output


def test_moderate_tells_what_is_wrong_and_what_to_do_and_goes_on(
    gateway: tuple[Gateway, str], video: Path, tmp_path: Path
) -> None:
    text = tmp_path / "notes.txt"
    text.write_bytes(b"text of a file")
    missing = tmp_path / "missing.mp4"
    result = CliRunner().invoke(app, ["moderate", str(text), str(missing), str(video), "--url", gateway[1]])
    assert result.exit_code == 1
    said = " ".join(result.output.split())
    assert "The bytes are not a video. Send a video file" in said
    assert "missing.mp4: The file cannot be read" in said
    assert "0.90 / 0.50" in said


def test_moderate_prints_what_is_finished_when_it_is_interrupted(
    gateway: tuple[Gateway, str], video: Path, tmp_path: Path
) -> None:
    second = tmp_path / "second.mp4"
    second.write_bytes(b"interrupt")
    result = CliRunner().invoke(app, ["moderate", str(video), str(second), "--url", gateway[1]])
    assert result.exit_code == 130
    assert "clip.mp4" in result.output
    assert "second.mp4" not in result.output


def test_moderate_takes_file_names_as_they_are(gateway: tuple[Gateway, str], tmp_path: Path) -> None:
    names = ["[/red].mp4", "[bold]b.mp4", "c\x1b[2J.mp4"]
    for name in names:
        (tmp_path / name.replace("/", "")).write_bytes(b"frames")
    paths = [str(tmp_path / name.replace("/", "")) for name in names]
    result = CliRunner().invoke(app, ["moderate", *paths, str(tmp_path / "d\x1b.mp4"), "--url", gateway[1]])
    assert result.exit_code == 1
    assert "[red].mp4" in result.output
    assert "[bold]b.mp4" in result.output
    assert "\x1b" not in result.output


def test_moderate_refuses_what_is_not_a_regular_file(gateway: tuple[Gateway, str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    result = CliRunner().invoke(app, ["moderate", "/dev/zero", str(tmp_path / "fifo"), "--url", gateway[1]])
    assert result.exit_code == 1
    assert result.output.count("not a regular file") == 2


def test_moderate_refuses_an_address_that_cannot_be(video: Path) -> None:
    result = CliRunner().invoke(app, ["moderate", str(video), "--url", "localhost:8080"])
    assert result.exit_code == 1
    assert "'localhost:8080' is not the URL of a gateway" in result.output


def test_moderate_without_a_gateway_says_how_to_start_one(video: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = CliRunner().invoke(app, ["moderate", str(video), "--url", url])
    assert result.exit_code == 1
    assert "winnow up" in result.output


def test_moderate_refuses_an_issue_that_cannot_be(video: Path) -> None:
    result = CliRunner().invoke(app, ["moderate", str(video), "--issue", "Not An Issue"])
    assert result.exit_code == 1
    assert "issues" in result.output


def test_up_names_the_port_that_is_taken(gateway: tuple[Gateway, str], tmp_path: Path) -> None:
    port = gateway[1].rsplit(":", 1)[1]
    free = [str(free_port()), str(free_port())]
    arguments = ["up", "--data-dir", str(tmp_path / "data"), "--port", free[0], "--ranker-port", free[1]]
    result = CliRunner().invoke(app, [*arguments, "--router-port", port])
    assert result.exit_code == 1
    assert f"Port {port}, wanted for the router, is taken" in " ".join(result.output.split())
    assert "--router-port" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "9000", "--router-port", "9000"], "three different ports"),
        (["--seeds", "a", "--no-seeds"], "exclude each other"),
    ],
)
def test_up_refuses_what_cannot_be(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["up", "--data-dir", str(tmp_path / "data"), *arguments])
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())


@pytest.mark.parametrize("arguments", [["--port", "0"], ["--ranker-port", "65536"], ["--timeout", "inf"]])
def test_up_refuses_numbers_out_of_range(tmp_path: Path, arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["up", "--data-dir", str(tmp_path), *arguments]).exit_code == 2


def test_a_data_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for place in (file, file / "below", Path("/proc/winnow")):
        result = CliRunner().invoke(app, ["up", "--data-dir", str(place)])
        assert result.exit_code == 1
        assert isinstance(result.exception, SystemExit)
        assert f"{place} cannot be used" in " ".join(result.output.split())
        assert "--data-dir" in result.output


def test_demo_refuses_a_directory_as_its_file(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "cannot be used: Is a directory. Choose another file with --out." in " ".join(result.output.split())


def test_demo_without_clips_says_so(tmp_path: Path) -> None:
    out = tmp_path / "demo.json"
    out.write_text("of an earlier run", encoding="utf-8")
    result = CliRunner().invoke(app, ["demo", "--bundled", str(tmp_path), "--out", str(out)])
    assert result.exit_code == 1
    assert "cannot be read" in result.output
    assert not out.exists()


def test_version_and_help() -> None:
    assert CliRunner().invoke(app, ["--version"]).output.startswith("winnow ")
    shown = CliRunner().invoke(app, ["--help"])
    assert shown.exit_code == 0
    assert {"up", "moderate", "demo", "lab"} <= set(shown.output.split())


def test_the_command_line_is_light() -> None:
    heavy = ("torch", "av", "qdrant_client", "sqlalchemy", "offline", "gateway")
    code = f"import sys, winnow.cli; print([name for name in {heavy!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert answer.stdout == "[]\n"
