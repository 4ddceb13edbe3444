"""The wheel of the whole project: the packages and what ships with them, and nothing of the tests."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.packaging.dockerfile import MODULES, ROOT
from tests.packaging.image import copy

PACKAGES = ("services", "winnow", "offline", *MODULES.values())
METADATA = ("pyproject.toml", "README.md", "LICENSE", "NOTICE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in (*PACKAGES, *METADATA, "tests"):
        copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = target.glob("*.whl")
    return zipfile.ZipFile(path)


def files(package: str) -> set[str]:
    """What a package holds in the tree."""
    found = (path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in found}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_whole(wheel: zipfile.ZipFile, package: str) -> None:
    held = {name for name in wheel.namelist() if name.startswith(f"{package}/")}
    assert held == files(package)


def test_it_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_what_the_services_need_beside_their_code_is_in_it(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for needed in (
        "services/policy/demo_world.yaml",
        "router_svc/models/demo/open_clip_model.safetensors",
        "router_svc/models/demo/background.json",
        "ranker_svc/models/demo/model.safetensors",
        "ranker_svc/models/demo/calibrators/demo-p2.json",
        "winnow/bundled/seeds/manifest.jsonl",
        "winnow/bundled/clips/manifest.jsonl",
    ):
        assert needed in names


def test_licence_and_notice_travel_along(wheel: zipfile.ZipFile) -> None:
    licences = {Path(name).name for name in wheel.namelist() if "/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"}


def test_the_command_is_installed(wheel: zipfile.ZipFile) -> None:
    (name,) = [each for each in wheel.namelist() if each.endswith("entry_points.txt")]
    assert "winnow = winnow.cli:main" in wheel.read(name).decode()


def test_vllm_finds_what_it_runs_in_its_processes(wheel: zipfile.ZipFile) -> None:
    (name,) = [each for each in wheel.namelist() if each.endswith("entry_points.txt")]
    (plugin,) = re.findall(r"\[vllm\.general_plugins\]\n\w+ = ([\w.]+):register\n", wheel.read(name).decode())
    assert f"{plugin.replace('.', '/')}.py" in wheel.namelist()
