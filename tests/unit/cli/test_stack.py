"""What is started with which settings, how commands find the gateway, and what loading seeds and clips does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import httpx
import pytest

import ranker_svc.settings
from services.clients import RouterClient
from services.errors import InvalidPayload
from tests.unit.cli.bank import Bank
from tests.unit.cli.test_report import decision, issue
from winnow.demo import Judged, read_clips, require_whole, write
from winnow.locate import STATE_FILE, gateway_url, hold, read_state, write_state
from winnow.output import require_writable
from winnow.report import Clip
from winnow.seeds import OF_ONES_OWN, UNFINISHED, bundled_fit, load_seeds, read_manifest
from winnow.stack import EngineName, Ports, demo_environment, service_specs, without_settings
from winnow.supervisor import SupervisorError


def test_services_are_started_on_loopback_and_know_one_another(tmp_path: Path) -> None:
    given = {"PATH": "/bin", "WINNOW_ROUTER_PORT": "1", "WINNOW_RANKER_MODEL": "mine"}
    ranker, router, gateway = service_specs(Ports(1001, 1002, 1003), tmp_path, environment=given, engine="reference")
    assert "WINNOW_RANKER_DEVICE" not in ranker.environment
    assert [spec.name for spec in (ranker, router, gateway)] == ["ranker", "router", "gateway"]
    assert gateway.environment["WINNOW_GATEWAY_ROUTER_URL"] == router.url == "http://127.0.0.1:1002"
    assert router.environment["WINNOW_ROUTER_RANKER_URLS"] == ranker.url == "http://127.0.0.1:1003"
    assert router.environment["WINNOW_ROUTER_PORT"] == "1002"
    assert ranker.environment["WINNOW_RANKER_ENGINE"] == "reference"
    assert ranker.environment["WINNOW_RANKER_MODEL"] == "mine"
    assert {spec.environment["PATH"] for spec in (ranker, router, gateway)} == {"/bin"}


def test_a_demo_sees_no_settings_of_the_user() -> None:
    given = {"PATH": "/bin", "WINNOW_RANKER_MODEL": "mine", "DATABASE_URL": "postgresql://h/d", "QDRANT_URL": "q"}
    assert without_settings(given) == {"PATH": "/bin"}
    assert demo_environment(given, EngineName.VLLM) == {"PATH": "/bin"}


def test_a_demo_on_openai_keeps_where_its_servers_are_and_needs_them() -> None:
    servers = {"WINNOW_RANKER_OPENAI_URLS": "http://a:8000", "WINNOW_RANKER_OPENAI_API_KEY": "k"}
    given = {"PATH": "/bin", "WINNOW_RANKER_MODEL": "mine", **servers}
    assert demo_environment(given, EngineName.OPENAI) == {"PATH": "/bin", **servers}
    assert demo_environment(given, EngineName.REFERENCE) == {"PATH": "/bin"}
    with pytest.raises(SupervisorError, match="set WINNOW_RANKER_OPENAI_URLS"):
        demo_environment({**given, "WINNOW_RANKER_OPENAI_URLS": ""}, EngineName.OPENAI)


def test_the_command_line_knows_the_engines_of_the_ranker() -> None:
    assert {each.value for each in EngineName} == set(get_args(ranker_svc.settings.EngineName))


def test_a_device_that_is_named_is_the_rankers(tmp_path: Path) -> None:
    ranker, router, _ = service_specs(Ports(), tmp_path, environment={}, engine="vllm", device="cuda")
    assert ranker.environment["WINNOW_RANKER_DEVICE"] == "cuda"
    assert "WINNOW_RANKER_DEVICE" not in router.environment


@pytest.mark.parametrize(("engine", "set_to"), [("vllm", None), (None, "vllm")])
def test_who_waits_is_told_that_vllm_loads(tmp_path: Path, engine: str | None, set_to: str | None) -> None:
    environment = {"WINNOW_RANKER_ENGINE": set_to} if set_to else {}
    ranker, router, _ = service_specs(Ports(), tmp_path, environment=environment, engine=engine)
    assert "into vLLM" in ranker.starting
    assert router.starting == "starting"


def test_the_gateway_is_the_named_one_then_the_environments_then_the_running_one(tmp_path: Path) -> None:
    environment = {"WINNOW_URL": "http://env"}
    assert gateway_url("http://named", environment, tmp_path) == "http://named"
    assert gateway_url(None, environment, tmp_path) == "http://env"
    assert gateway_url(None, {}, tmp_path) == "http://127.0.0.1:8080"
    with hold(tmp_path):
        write_state(tmp_path, "http://running")
        assert gateway_url(None, {}, tmp_path) == "http://running"


@pytest.mark.parametrize("wrong", ["127.0.0.1:8080", "localhost", "ftp://host", "http://", "http://host:port"])
def test_what_is_no_url_of_a_gateway_is_refused(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ValueError, match="is not the URL of a gateway"):
        gateway_url(wrong, {}, tmp_path)
    with pytest.raises(ValueError, match="is not the URL of a gateway"):
        gateway_url(None, {"WINNOW_URL": wrong}, tmp_path)


def test_a_data_directory_is_held_by_one_run_at_a_time(tmp_path: Path) -> None:
    with hold(tmp_path / "data"):
        with pytest.raises(SupervisorError, match=f"is used by process {os.getpid()}"), hold(tmp_path / "data"):
            raise AssertionError
        assert read_state(tmp_path / "data") is None
    with hold(tmp_path / "data"):
        pass


def test_what_a_run_that_crashed_has_left_is_ignored_and_does_not_block(tmp_path: Path) -> None:
    script = (
        "import os; from pathlib import Path; from winnow.locate import hold, write_state\n"
        f"with hold(Path({str(tmp_path)!r})):\n"
        f"    write_state(Path({str(tmp_path)!r}), 'http://old'); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    # Its id may belong to another process by now.
    state = {"pid": os.getpid(), "gateway_url": "http://old"}
    (tmp_path / STATE_FILE).write_text(json.dumps(state), encoding="utf-8")
    assert read_state(tmp_path) is None
    with hold(tmp_path):
        assert read_state(tmp_path) is None
        (tmp_path / STATE_FILE).write_text("not JSON", encoding="utf-8")
        assert read_state(tmp_path) is None


def test_service_tokens_are_handed_on_to_the_callers(tmp_path: Path) -> None:
    given = {"WINNOW_ROUTER_SERVICE_TOKEN": "a", "WINNOW_RANKER_SERVICE_TOKEN": "b", "WINNOW_ROUTER_RANKER_TOKEN": ""}
    _, router, gateway = service_specs(Ports(), tmp_path, environment=given)
    assert gateway.environment["WINNOW_GATEWAY_ROUTER_TOKEN"] == "a"
    assert router.environment["WINNOW_ROUTER_RANKER_TOKEN"] == "b"
    _, router, gateway = service_specs(Ports(), tmp_path, environment={**given, "WINNOW_GATEWAY_ROUTER_TOKEN": "own"})
    assert gateway.environment["WINNOW_GATEWAY_ROUTER_TOKEN"] == "own"
    _, router, _ = service_specs(Ports(), tmp_path, environment={})
    assert "WINNOW_ROUTER_RANKER_TOKEN" not in router.environment


@pytest.mark.parametrize("name", OF_ONES_OWN)
def test_the_bundled_seeds_fit_the_embedded_bank_alone(name: str) -> None:
    assert bundled_fit({"PATH": "/bin", name: ""})
    assert not bundled_fit({"PATH": "/bin", name: "mine"})


def test_a_file_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    earlier = tmp_path / "out.json"
    earlier.write_text("earlier", encoding="utf-8")
    require_writable(earlier)
    assert earlier.read_text(encoding="utf-8") == "earlier"
    require_writable(tmp_path / "new" / "out.json")
    assert not (tmp_path / "new" / "out.json").exists()
    for wrong in (tmp_path, earlier / "out.json", Path("/proc/out.json")):
        with pytest.raises(SupervisorError, match=r"cannot be used: .*--out"):
            require_writable(wrong)


async def test_seeds_are_loaded_once(tmp_path: Path, seeds: Path) -> None:
    bank, seen = Bank(tmp_path / "spool"), list[tuple[int, int]]()
    async with RouterClient("http://router", transport=httpx.ASGITransport(bank.app)) as router:
        advance = seen.append
        assert await load_seeds(router, seeds, tmp_path, advance=lambda *done: advance(done)) == 2
        assert seen == [(1, 2), (2, 2)]
        assert (bank.seeds["a.mp4"].start_s, bank.seeds["a.mp4"].end_s) == (0.5, 2.0)
        assert bank.seeds["b.mp4"].kind == "negative"
        assert await load_seeds(router, seeds, tmp_path, advance=lambda *done: None) == 0


async def test_an_interrupted_load_is_done_again(tmp_path: Path, seeds: Path) -> None:
    bank = Bank(tmp_path / "spool")
    bank.refused = "smoking"
    async with RouterClient("http://router", transport=httpx.ASGITransport(bank.app)) as router:
        with pytest.raises(InvalidPayload):
            await load_seeds(router, seeds, tmp_path, advance=lambda *done: None)
        assert (tmp_path / UNFINISHED).exists()
        bank.refused = ""
        assert await load_seeds(router, seeds, tmp_path, advance=lambda *done: None) == 2
    assert set(bank.seeds) == {"a.mp4", "b.mp4"}
    assert not (tmp_path / UNFINISHED).exists()


def test_a_wrong_row_of_a_manifest_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text('{"path": "a.mp4"}\n', encoding="utf-8")
    with pytest.raises(ValueError, match="issue"):
        read_manifest(tmp_path)
    with pytest.raises(SupervisorError, match="kind"):
        read_clips(tmp_path)
    (tmp_path / "manifest.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(SupervisorError, match="no clips"):
        read_clips(tmp_path)


def test_a_demo_accepts_only_decisions_that_the_cascade_made() -> None:
    clip = Clip(path="a.mp4", kind="other", issues=())
    require_whole(clip, decision("allow", issue("arson", "allow")))
    for wrong in (
        decision("review", issue("arson", "review"), route="degraded", rank_missing="unavailable"),
        decision("pending", issue("arson", "pending")),
        decision("allow"),
    ):
        with pytest.raises(SupervisorError, match=r"a\.mp4"):
            require_whole(clip, wrong)


def test_the_demo_writes_whole_decisions_and_the_agreement(tmp_path: Path) -> None:
    right = Judged(Clip(path="a.mp4", kind="other", issues=()), decision("allow", issue("arson", "allow")), 0.1)
    wrong = Judged(Clip(path="b.mp4", kind="other", issues=()), decision("block", issue("arson", "block")), 0.1)
    out = tmp_path / "build" / "demo.json"
    write([right, wrong], out)
    document = json.loads(out.read_text(encoding="utf-8"))
    assert document["agreement"] == 1
    assert [each["verdict"] for each in document["decisions"]] == ["allow", "block"]
    assert document["decisions"][0] == right.decision.model_dump(mode="json")
