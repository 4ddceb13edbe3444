"""A real Redis and a real PostgreSQL for tests: processes of their own, on free ports, in directories of their own.

They are Debian's packages (redis-server, postgresql). Where they are missing a test is skipped, or fails where
WINNOW_TEST_SERVERS=required says that they have to be there.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis

REQUIRED = os.environ.get("WINNOW_TEST_SERVERS") == "required"
# Characters that a URL has to escape: whoever pastes a URL together gets it wrong.
PASSWORD = "s3cret-p@ss/word"
QUOTED = "s3cret-p%40ss%2Fword"
START_S = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def binary(name: str, package: str, directories: Sequence[Path] = ()) -> str:
    """The path of a server's program; skips or fails the test where there is none."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, directories)])
    found = shutil.which(name, path=path)
    if found is None:
        reason = f"{name} is not installed (Debian: apt-get install {package})"
        if REQUIRED:
            pytest.fail(f"{reason}, and WINNOW_TEST_SERVERS says required")
        pytest.skip(reason)
    return found


class Server:
    """One process, which a test may kill, start again and hold up."""

    def __init__(self, name: str) -> None:
        self.port = free_port()
        self.user = _other_user()
        # Not below pytest's directories: those are closed to other users.
        self.directory = Path(tempfile.mkdtemp(prefix=f"winnow-test-{name}-"))
        if self.user is not None:
            os.chown(self.directory, self.user.pw_uid, self.user.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        raise NotImplementedError

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def ping(self) -> None:
        """Return if the server answers; raise anything if it does not."""
        raise NotImplementedError

    def run(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a program as the server's user."""
        user = {} if self.user is None else {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(command, cwd=self.directory, stdout=log, stderr=log, env=_ENVIRONMENT, **user)

    def start(self) -> None:
        self._process = self.run(self.command())
        until = time.monotonic() + START_S
        while True:
            try:
                return self.ping()
            except (OSError, psycopg.Error, redis.RedisError) as error:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise AssertionError((self.directory / "log").read_text(encoding="utf-8")) from error
                time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """The server accepts connections and bytes, and answers nothing, for the block."""
        assert self._process is not None
        pids = [self._process.pid, *_children(self._process.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in reversed(pids):
                os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class RedisServer(Server):
    """Redis without persistence, with a password."""

    def __init__(self) -> None:
        self._program = binary("redis-server", "redis-server", [Path("/usr/bin")])
        super().__init__("redis")

    @property
    def url(self) -> str:
        return f"redis://:{QUOTED}@127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis(host="127.0.0.1", port=self.port, password=PASSWORD, socket_timeout=5)

    def command(self) -> Sequence[str]:
        own = ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.directory))
        return (self._program, *own, "--save", "", "--appendonly", "no", "--requirepass", PASSWORD)

    def ping(self) -> None:
        with self.client() as client:
            client.ping()


class PostgresServer(Server):
    """PostgreSQL with one role and one database, which ask for a password."""

    def __init__(self) -> None:
        places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        self._program = binary("postgres", "postgresql", places)
        initdb = binary("initdb", "postgresql", places)
        super().__init__("postgres")
        secret = self.directory / "password"
        secret.write_text(PASSWORD, encoding="ascii")
        secret.chmod(0o644)
        options = ("--username=winnow", f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale")
        made = self.run((initdb, f"--pgdata={self.directory / 'data'}", "--no-sync", *options)).wait(60)
        assert made == 0, (self.directory / "log").read_text(encoding="utf-8")

    @property
    def url(self) -> str:
        return f"postgresql://winnow:{QUOTED}@127.0.0.1:{self.port}/postgres"

    def command(self) -> Sequence[str]:
        settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=50")
        flags = [part for each in settings for part in ("-c", each)]
        return (self._program, "-D", str(self.directory / "data"), "-p", str(self.port), *flags)

    def kill(self) -> None:
        # SIGKILL of the postmaster leaves its children behind; SIGQUIT ends all of them without a word to clients.
        self._end(signal.SIGQUIT)

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement outside of the gateway."""
        with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def ping(self) -> None:
        self.sql("SELECT 1")


_ENVIRONMENT = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}


def _other_user() -> pwd.struct_passwd | None:
    """Whose process a server becomes: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def _children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may hold spaces.
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found
