"""The compose files: schema, hardening, and that each variable, port and path agrees with the services' settings."""

import http.server
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.settings import ServiceSettings
from services.web.server import ANSWER_S
from tests.packaging.dockerfile import ROLES, ROOT, stages
from tests.servers import binary
from tests.unit.deploy.compose import COMPOSE, EXAMPLE, GPU, VARIABLE, Unset, example, filled, load, merged, seconds
from tests.unit.deploy.test_dockerfiles import SETTINGS
from winnow.stack import FOREIGN

REQUIRED = {
    "POSTGRES_PASSWORD",
    "REDIS_PASSWORD",
    "QDRANT_API_KEY",
    "WINNOW_ROUTER_SERVICE_TOKEN",
    "WINNOW_RANKER_SERVICE_TOKEN",
}
STACK = load(COMPOSE, example())
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
WITH_GPU = merged(STACK, load(GPU, example()))
ONE_SHOT = ("seeds", "keys")
CLOSING_S = 5


@pytest.mark.parametrize("stack", [STACK, WITH_GPU], ids=["plain", "gpu"])
def test_the_specification_allows_it(tmp_path: Path, stack: dict[str, Any]) -> None:
    path = tmp_path / "compose.yml"
    path.write_text(yaml.safe_dump(stack), encoding="utf-8")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_the_stack_that_was_promised() -> None:
    assert set(SERVICES) == {*ROLES, *ONE_SHOT, "postgres", "redis", "qdrant", "prometheus"}
    assert {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service} == {
        name: [name] for name in ONE_SHOT
    }


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_a_secret_that_is_not_set_stops_it_with_a_reason(name: str) -> None:
    with pytest.raises(Unset, match=f"{name}: set it in .env"):
        load(COMPOSE, example(**{name: ""}))


def test_the_example_names_every_variable_and_no_other() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (COMPOSE, GPU))
    used = {match["name"]: match for match in VARIABLE.finditer(text) if match["name"]}
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    named = dict(line.lstrip("#").split("=", 1) for line in lines if re.match(r"#?[A-Z_]+=", line))
    assert set(named) == set(used)
    defaults = {name: match["rest"] or "" for name, match in used.items() if match["kind"] == "-"}
    assert defaults == {name: named[name] for name in defaults}
    assert {name for name, match in used.items() if match["kind"] == "?"} == REQUIRED


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert any(mount.startswith("/tmp:") for mount in service["tmpfs"])
    assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped")
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert service["logging"]["options"]["max-size"]


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    tag = SERVICES[name]["image"].partition(":")[2]
    assert re.match(r"v?\d+\.\d+", tag)


def test_no_container_that_starts_as_root_stays_so() -> None:
    # Two are images whose own user is not root. Without capabilities an entry point could not change from root.
    own = {"qdrant/qdrant": "-unprivileged", "prom/prometheus": ""}
    for name, service in SERVICES.items():
        image, _, tag = service["image"].partition(":")
        if not image.startswith("winnow-"):
            assert service.get("user") in {"postgres", "redis"} or (image in own and tag.endswith(own[image])), name


@pytest.mark.parametrize("name", SERVICES)
def test_what_it_waits_for_has_a_health_check(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}
        assert other in ROLES or "test" in SERVICES[other]["healthcheck"]
    if name not in {*ROLES, *ONE_SHOT}:
        assert {"test", "interval", "timeout", "retries", "start_period"} <= set(SERVICES[name]["healthcheck"])


def test_the_gateway_alone_is_published_and_prometheus_on_loopback() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"gateway": ["127.0.0.1:8080:8080"], "prometheus": ["127.0.0.1:9090:9090"]}
    assert load(COMPOSE, example(WINNOW_BIND="0.0.0.0"))["services"]["prometheus"]["ports"] == ports["prometheus"]


def test_router_and_ranker_and_the_stores_have_no_way_out() -> None:
    internal = {name for name, network in STACK["networks"].items() if network.get("internal")}
    joined = {name: set(service["networks"]) for name, service in SERVICES.items() if "network_mode" not in service}
    assert SERVICES["keys"]["network_mode"] == "none"
    assert set(joined) == set(SERVICES) - {"keys"}
    assert {name for name, networks in joined.items() if not networks <= internal} == {"gateway", "prometheus"}
    shared = {name: {other for other, networks in joined.items() if name in networks} for name in STACK["networks"]}
    assert shared["outside"] == {"gateway"}
    assert shared["records"] == {"gateway", "router", "postgres", "redis"}
    assert shared["bank"] == {"router", "qdrant"}
    assert shared["ranking"] == {"router", "ranker"}
    assert shared["cascade"] == {"gateway", "router", "seeds"}
    assert shared["metrics"] == {*ROLES, "prometheus"}


def settings_of(role: str, service: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> ServiceSettings:
    """The service's settings in the environment of its image and of the compose file."""
    given = {name: value for name, value in stages(role)[-1].environment.items() if name.startswith("WINNOW_")}
    for name, value in {**given, **service["environment"]}.items():
        monkeypatch.setenv(name, str(value))
    return SETTINGS[role]()


@pytest.mark.parametrize("stack", [STACK, WITH_GPU], ids=["plain", "gpu"])
@pytest.mark.parametrize("role", ROLES)
def test_every_variable_is_a_setting_and_its_value_is_allowed(
    role: str, stack: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, prefix = stack["services"][role], f"WINNOW_{role.upper()}_"
    known = {f"{prefix}{name}".upper() for name in SETTINGS[role].model_fields} | set(FOREIGN) | {"OMP_NUM_THREADS"}
    assert set(service["environment"]) <= known
    settings = settings_of(role, service, monkeypatch)
    assert settings.host == "0.0.0.0"


@pytest.mark.parametrize("role", ROLES)
def test_a_container_is_killed_only_after_its_grace_time(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(role, SERVICES[role], monkeypatch)
    assert seconds(SERVICES[role]["stop_grace_period"]) >= settings.shutdown_grace_s + ANSWER_S + CLOSING_S


def test_services_find_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {role: settings_of(role, SERVICES[role], monkeypatch) for role in ROLES}
    assert settings["gateway"].router_url == f"http://router:{settings['router'].port}"
    assert settings["gateway"].router_token == settings["router"].service_token
    assert settings["router"].ranker_urls == (f"http://ranker:{settings['ranker'].port}",)
    assert settings["router"].ranker_token == settings["ranker"].service_token
    assert settings["router"].qdrant_url == "http://qdrant:6333"
    qdrant = SERVICES["qdrant"]["environment"]["QDRANT__SERVICE__API_KEY"]
    assert settings["router"].qdrant_api_key.get_secret_value() == qdrant
    password = SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD"]
    assert settings["gateway"].database == f"postgresql://winnow:{password}@postgres:5432/winnow"
    assert SERVICES["gateway"]["ports"][0].endswith(f":{settings['gateway'].port}")
    seeds = SERVICES["seeds"]["environment"]
    assert seeds["WINNOW_ROUTER_URL"] == settings["gateway"].router_url
    assert seeds["WINNOW_ROUTER_SERVICE_TOKEN"] == settings["router"].service_token.get_secret_value()


def test_the_gateway_reads_the_keys_that_the_command_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway: Any = settings_of("gateway", SERVICES["gateway"], monkeypatch)
    directory, path = "/keys", str(gateway.api_keys_path)
    assert path == f"{directory}/api-keys.yaml"
    assert f"gateway-keys:{directory}:ro" in SERVICES["gateway"]["volumes"]
    keys = SERVICES["keys"]
    assert keys["volumes"] == [f"gateway-keys:{directory}"]
    assert keys["command"][-1] == path
    # A new volume takes its owner from the directory of the image.
    assert directory in stages("gateway")[-1].all("RUN")[0].split("install --directory --owner=10001 ")[1].split()


def test_a_password_that_would_break_a_url_is_named_in_the_example() -> None:
    assert "Letters and digits alone" in EXAMPLE.read_text(encoding="utf-8")


def test_every_mount_exists_and_every_volume_is_declared() -> None:
    named, bound = set(), set()
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            if isinstance(volume, str):
                (bound if volume.startswith(".") else named).add(volume.partition(":")[0])
            else:
                assert volume == {"type": "volume", "target": "/data"}, "anonymous"
    assert named == set(STACK["volumes"])
    assert [path for path in bound if not (ROOT / path).is_dir()] == []


@pytest.mark.parametrize("role", ROLES)
def test_every_build_names_a_dockerfile_and_its_arguments(role: str) -> None:
    for stack in (STACK, WITH_GPU):
        build = stack["services"][role]["build"]
        assert (ROOT / build["context"] / build["dockerfile"]).is_file()
        assert set(build.get("args", {})) <= set(stages(role)[0].arguments)


def test_the_overlay_gives_the_ranker_a_gpu_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    service = WITH_GPU["services"]["ranker"]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    settings: Any = settings_of("ranker", service, monkeypatch)
    assert (settings.engine, settings.device, settings.dtype) == ("vllm", "cuda", "bfloat16")
    assert settings.tensor_parallel_size == device["count"]
    assert settings.model.startswith("/models/")
    assert "./models:/models:ro" in service["volumes"]
    assert {name: value for name, value in WITH_GPU["services"].items() if name != "ranker"} == {
        name: value for name, value in SERVICES.items() if name != "ranker"
    }


def test_prometheus_scrapes_every_replica_of_the_three_services() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    for role in ROLES:
        (found,) = jobs[role]["dns_sd_configs"]
        port = SETTINGS[role].model_fields["port"].default
        assert (found["names"], found["type"], found["port"]) == ([role], "A", port)
        assert jobs[role].get("metrics_path", "/metrics") == "/metrics"


def test_promtool_accepts_the_configuration_and_its_rules() -> None:
    command = [binary("promtool", "prometheus"), "check", "config", ROOT / "deploy/prometheus/prometheus.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_of_qdrant_reads_the_status(status: int, healthy: bool) -> None:
    class Ready(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        _, *command = SERVICES["qdrant"]["healthcheck"]["test"]
        command[-1] = command[-1].replace("/6333", f"/{server.server_address[1]}")
        done = subprocess.run(command, capture_output=True, timeout=10, check=False)
        server.shutdown()
    assert (done.returncode == 0) is healthy


def test_variables_are_filled_in_as_compose_does() -> None:
    assert filled("${A}-${B:-b}-$$C-${D:?no}", {"A": "a", "D": "d"}) == "a-b-$C-d"
    assert merged({"a": [1], "command": [1], "b": {"c": 1, "d": 2}}, {"a": [2], "command": [2], "b": {"c": 3}}) == {
        "a": [1, 2],
        "command": [2],
        "b": {"c": 3, "d": 2},
    }
