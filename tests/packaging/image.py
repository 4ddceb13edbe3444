"""Does on this machine what a Dockerfile's build stage and its container do, as far as that needs no engine."""

import filecmp
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.packaging.dockerfile import ROOT, Stage, stages

BUILD_S = 900
SHARED_BYTES = 1024 * 1024
OWN_PATHS = ("/opt/winnow", "/wheels", "/src", "/data", "/keys", "/evidence", "/seeds")
IGNORED = shutil.ignore_patterns("__pycache__", "*.py[cod]")
CONFINE = """
set -e
mount --bind "$DATA" "$DATA"
mount -t tmpfs tmpfs "$TMPDIR"
mount -o remount,bind,ro /
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all -- "$@"
"""


@dataclass(frozen=True)
class Image:
    """What a Dockerfile makes, with its absolute paths moved below `root`."""

    role: str
    root: Path
    final: Stage

    def moved(self, text: str) -> str:
        """Text with the paths of the image as they are here."""
        return moved(text, self.root)

    @property
    def python(self) -> str:
        """The interpreter of the image's environment."""
        return str(self.root / "opt/winnow/bin/python")

    @property
    def data(self) -> Path:
        """The image's data volume."""
        return self.root / "data"

    def environment(self, **settings: str) -> dict[str, str]:
        """The container's whole environment; nothing of ours leaks in."""
        image = {name: self.moved(value) for name, value in self.final.environment.items()}
        image["PATH"] = image["PATH"].replace("$PATH", "/usr/local/bin:/usr/bin:/bin")
        return {**image, "HOME": str(self.data), "TMPDIR": str(self.root / "tmp"), **settings}

    def run(self, command: Sequence[str], **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end in the image's environment, without confinement."""
        return subprocess.run(
            [self.python if command[0] == "python" else command[0], *command[1:]],
            cwd=self.data,
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            timeout=BUILD_S,
            check=False,
        )

    @contextmanager
    def container(self, log: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        """The image's command: read-only but for data and temporary files, without capabilities where that can be."""
        command = [self.python, *self.final.command[1:]]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*confinement(), *command],
                cwd=self.data,
                env=self.environment(DATA=str(self.data), **settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def confinement() -> list[str]:
    """What is put before a command for a read-only root and no capabilities; empty where the system forbids it."""
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    try:
        subprocess.run([*unshare, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [*unshare, "sh", "-c", CONFINE, "sh"]


def moved(text: str, root: Path) -> str:
    """Text with the absolute paths of an image moved below `root`."""
    return re.sub(rf"(?<![\w.])({'|'.join(OWN_PATHS)})\b", lambda match: f"{root}{match[1]}", text)


def build(role: str, root: Path) -> Image:
    """Follow the build stage of the role's Dockerfile: its COPY and RUN, in order, below `root`.

    Raises:
        AssertionError: an instruction failed; the message holds its output.
    """
    first, final = stages(role)
    for each in ("src", "wheels", "data", "keys", "tmp", "opt"):
        (root / each).mkdir(parents=True)
    for instruction in first.instructions:
        if instruction.name == "COPY":
            *sources, _ = instruction.value.split()
            for source in sources:
                copy(ROOT / source, root / "src" / source)
        elif instruction.name == "RUN":
            command = re.sub(r"--mount=\S+ ", "", instruction.value)
            run(moved(command, root), root / "src", {**first.arguments, **first.environment})
            share_files(root / "opt/winnow/lib", Path(sys.prefix) / "lib")
    return Image(role, root, final)


def share_files(made: Path, ours: Path) -> None:
    """Make large files that this environment has too into links to them: three copies of PyTorch fill a small disk."""
    for path in made.rglob("*"):
        twin = ours / path.relative_to(made)
        if path.is_symlink() or not path.is_file() or path.stat().st_size < SHARED_BYTES or not twin.is_file():
            continue
        if path.stat().st_dev == twin.stat().st_dev and filecmp.cmp(path, twin, shallow=False):
            path.unlink()
            path.hardlink_to(twin)


def copy(source: Path, target: Path) -> None:
    """A file or directory of the build context."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=IGNORED)
    else:
        shutil.copy(source, target)


def run(command: str, directory: Path, variables: Mapping[str, str]) -> None:
    """A shell command with this Python's `python` and `pip`."""
    environment = {**os.environ, **variables, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
