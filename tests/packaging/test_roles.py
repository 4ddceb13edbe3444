"""Each role in an environment with its extra alone: what is in it, what can be imported, that it starts and works."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import grimp
import httpx
import pytest

from services.contracts import Decision, Health
from tests.packaging.dockerfile import MODULES, ROLES
from tests.packaging.image import Image, confinement
from winnow.seeds import BUNDLED
from winnow.supervisor import free_ports

Images = Callable[[str], Image]
START_S = 180
TOKEN = "0123456789abcdef0123456789abcdef"
KEYS = "/keys/api-keys.yaml"
MODELS = frozenset({"torch", "torchvision", "transformers", "open_clip_torch", "numpy", "pillow", "vllm"})
DECODING = frozenset({"av"})
STORES = frozenset({"sqlalchemy", "aiosqlite", "psycopg", "redis"})
ABSENT = {
    "gateway": MODELS | DECODING | {"qdrant-client", "qdrant-edge-py", "opentelemetry-sdk"},
    "router": frozenset({"redis", "vllm", "scikit-learn", "pytest"}),
    "ranker": STORES | DECODING | {"vllm", "qdrant-client", "open_clip_torch", "scikit-learn", "pytest"},
}
PRESENT = {
    "gateway": STORES | {"fsspec"},
    "router": (MODELS | DECODING | STORES | {"fsspec", "qdrant-client", "qdrant-edge-py"}) - {"redis", "vllm"},
    "ranker": MODELS - {"vllm", "open_clip_torch"},
}
OF_OTHER_EXTRAS = frozenset({"services.telemetry.otel"})
"""What a role imports only where an extra that is not its own is installed: traces."""
LIST = """
import json, re
from importlib.metadata import distributions
print(json.dumps(sorted({re.sub(r"[-_.]+", "-", each.metadata["Name"]).lower() for each in distributions()})))
"""
IMPORT = """
import importlib, json, sys
failed = {}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {error}"
print(json.dumps(failed))
"""


def canonical(names: frozenset[str] | set[str]) -> set[str]:
    return {name.replace("_", "-") for name in names}


@pytest.mark.parametrize("role", ROLES)
def test_the_environment_holds_the_roles_libraries_and_no_others(image: Images, role: str) -> None:
    done = image(role).run(["python", "-c", LIST])
    installed = set(json.loads(done.stdout))
    assert canonical(PRESENT[role]) - installed == set()
    assert canonical(ABSENT[role]) & installed == set()


@pytest.mark.parametrize("role", ROLES)
def test_every_module_of_the_role_and_what_it_uses_of_services_can_be_imported(image: Images, role: str) -> None:
    graph = grimp.build_graph("services", *MODULES.values())
    own = graph.find_descendants(MODULES[role]) | {MODULES[role]}
    shared = graph.find_upstream_modules(MODULES[role], as_package=True)
    modules = sorted(name for name in (own | shared) - OF_OTHER_EXTRAS if not name.endswith("__main__"))
    assert any(name.startswith("services.") for name in modules)
    done = image(role).run(["python", "-c", IMPORT, json.dumps(modules)])
    assert json.loads(done.stdout) == {}, done.stderr


@pytest.mark.parametrize("role", ROLES)
def test_the_other_roles_are_not_in_the_image(image: Images, role: str) -> None:
    site = next((image(role).root / "opt/winnow/lib").glob("python*")) / "site-packages"
    ours = {path.name for path in site.iterdir()} & {*MODULES.values(), "services", "winnow", "offline", "tests"}
    assert ours == {MODULES[role], "services", "winnow"}


@dataclass(frozen=True)
class Container:
    """A role at work."""

    image: Image
    url: str
    process: subprocess.Popen[bytes]
    log: Path
    settings: dict[str, str]

    def healthy(self) -> bool:
        """What the image's HEALTHCHECK says."""
        return self.image.run(self.image.final.healthcheck, **self.settings).returncode == 0

    def health(self, path: str) -> tuple[int, dict[str, str]]:
        """Status of a health route, and what it says is missing."""
        answer = httpx.get(f"{self.url}{path}", timeout=10, trust_env=False)
        return answer.status_code, Health.model_validate_json(answer.content).missing


def winnow(image: Image) -> str:
    """The command line of the image."""
    return image.moved("/opt/winnow/bin/winnow")


@pytest.fixture(scope="module")
def key(image: Images) -> str:
    """An API key, made by the gateway's command line as the compose file's service `keys` does."""
    gateway = image("gateway")
    made = gateway.run([winnow(gateway), "keys", "new", "--id", "test", "--file", gateway.moved(KEYS)])
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


@pytest.fixture(scope="module")
def stack(image: Images, key: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Container]]:
    """Ranker, router and gateway, each in its own environment, started in the order of the compose file."""
    logs, ports = tmp_path_factory.mktemp("logs"), dict(zip(ROLES, map(str, free_ports(3)), strict=True))
    url = {role: f"http://127.0.0.1:{port}" for role, port in ports.items()}
    given = {
        "ranker": {"WINNOW_RANKER_SERVICE_TOKEN": TOKEN},
        "router": {
            "WINNOW_ROUTER_SERVICE_TOKEN": TOKEN,
            "WINNOW_ROUTER_RANKER_URLS": url["ranker"],
            "WINNOW_ROUTER_RANKER_TOKEN": TOKEN,
            "WINNOW_ROUTER_DECODE_CONFINEMENT": "required",
        },
        "gateway": {
            "WINNOW_GATEWAY_ROUTER_URL": url["router"],
            "WINNOW_GATEWAY_ROUTER_TOKEN": TOKEN,
            "WINNOW_GATEWAY_API_KEYS_PATH": image("gateway").moved(KEYS),
        },
    }
    containers: dict[str, Container] = {}
    with ExitStack() as running:
        for role in ("ranker", "router", "gateway"):
            prefix = f"WINNOW_{role.upper()}_"
            settings = {
                f"{prefix}HOST": "127.0.0.1",
                f"{prefix}PORT": ports[role],
                "OMP_NUM_THREADS": "1",
                **given[role],
            }
            log = logs / f"{role}.log"
            assert image(role).run(image(role).final.healthcheck, **settings).returncode != 0
            process = running.enter_context(image(role).container(log, **settings))
            containers[role] = container = Container(image(role), url[role], process, log, settings)
            until = time.monotonic() + START_S
            while not container.healthy():
                assert process.poll() is None, log.read_text(encoding="utf-8")
                assert time.monotonic() < until, log.read_text(encoding="utf-8")
                time.sleep(0.5)
        yield containers


def test_they_start_and_are_live(stack: dict[str, Container]) -> None:
    assert {role: container.health("/health/live") for role, container in stack.items()} == dict.fromkeys(
        stack, (200, {})
    )
    assert stack["ranker"].health("/health/ready") == (200, {})


def test_a_container_writes_to_its_volume_alone(stack: dict[str, Container]) -> None:
    if not confinement():
        pytest.skip("this system does not let a process have a root of its own")
    for container in stack.values():
        mounts = Path(f"/proc/{container.process.pid}/mountinfo").read_text(encoding="utf-8").splitlines()
        options = {line.split()[4]: line.split()[5].split(",") for line in mounts}
        assert "ro" in options["/"]
        assert "rw" in options[str(container.image.data)]
        status = Path(f"/proc/{container.process.pid}/status").read_text(encoding="utf-8")
        assert "CapBnd:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status


def test_the_gateways_command_line_fills_the_bank_and_the_cascade_decides(
    stack: dict[str, Container], key: str
) -> None:
    gateway = stack["gateway"]
    missing = [stack[role].health("/health/ready")[1] for role in ("router", "gateway")]
    assert [set(each) for each in missing] == [{"seed bank"}, {"router"}]
    environment = {"WINNOW_ROUTER_URL": stack["router"].url, "WINNOW_ROUTER_SERVICE_TOKEN": TOKEN}
    loaded = gateway.image.run([winnow(gateway.image), "seeds", "load"], **environment)
    assert loaded.returncode == 0, loaded.stderr
    until = time.monotonic() + 10
    while gateway.health("/health/ready")[0] != 200:
        assert time.monotonic() < until, gateway.log.read_text(encoding="utf-8")
        time.sleep(0.2)
    clip = BUNDLED / "clips" / "test-violation-00000.mp4"
    command = [winnow(gateway.image), "moderate", "--json", "--url", gateway.url, str(clip)]
    assert gateway.image.run(command).returncode == 1
    asked = gateway.image.run(command, WINNOW_API_KEY=key)
    assert asked.returncode == 0, asked.stderr
    assert Decision.model_validate_json(asked.stdout).route == "refined"


def test_they_stop_when_they_are_told_to(stack: dict[str, Container]) -> None:
    """The last test of this module: nothing runs after it."""
    for role in ("gateway", "router", "ranker"):
        stack[role].process.terminate()
        code = stack[role].process.wait(40)
        log = stack[role].log.read_text(encoding="utf-8")
        assert code in (0, -signal.SIGTERM), (role, log)
        assert "Traceback" not in log, (role, log)
