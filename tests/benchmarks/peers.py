"""What others would use instead, run as they are: their scripts by path, on our servers, in environments of their own.

`make bench PEERS=folder` names a folder with `peers/*.py` and `locks/*.txt`. Nothing is written into it: environments
are made once in the machine's folder for temporary files, results and logs are thrown away.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
import redis
from psycopg import sql

from agents.contracts import Json
from cockpit import processes

VARIABLE = "BENCH_PEERS"
ENVIRONMENTS = Path(tempfile.gettempdir()) / f"cockpit-peers-{os.getuid()}"
PATIENCE_S = 600


class PeerError(Exception):
    """A peer could not be measured; the message says why, for its row."""


class Peers:
    """The peers of a folder, on the servers of this process's environment."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self.scratch = folder, scratch
        self._database = urlsplit(os.environ["DATABASE_URL"])
        self._redis_url = os.environ["REDIS_URL"]
        self._results = scratch / "results"

    def measure(self, measure: str, peer: str, *arguments: str) -> Json:
        """What one of its scripts says of itself. Raises `PeerError`."""
        python = self._python(peer)
        database = f"bench_{peer}"
        self._make_database(database)
        script = self.folder / "peers" / f"{peer}_peer.py"
        command = [str(python), str(script), measure, *arguments]
        wants_database = [] if peer == "celery" else ["--db", database]
        log = self.scratch / f"{measure}-{peer}.log"
        with self._open_redis(), log.open("wb") as output:
            self._run([*command, *wants_database], output, log)
        found = self._results / f"{measure}.{peer}.jsonl"
        if not found.exists():
            raise PeerError(f"not measured: its script wrote no result ({last_words(log)})")
        told: Json = json.loads(found.read_text().splitlines()[-1])
        return told

    def is_prefect_possible(self) -> bool:
        """It needs an extension that not every PostgreSQL has."""
        with psycopg.connect(os.environ["DATABASE_URL"]) as link:
            return bool(link.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm'").fetchone())

    def _run(self, command: list[str], output: Any, log: Path) -> None:
        child = subprocess.Popen(
            command,
            env=self._environment(),
            cwd=self.scratch,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = child.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise PeerError(f"not measured: not done within {PATIENCE_S} s") from None
        finally:
            end_session(child.pid)
            child.wait()
        if code:
            raise PeerError(f"not measured: its script ended with {code} ({last_words(log)})")

    def _environment(self) -> dict[str, str]:
        ports = {"BENCH_PG_PORT": self._database.port, "BENCH_PG15_PORT": self._database.port}
        ports |= {"BENCH_REDIS_PORT": urlsplit(self._redis_url).port}
        folders = {"BENCH_VENVS": ENVIRONMENTS, "BENCH_RESULTS": self._results, "BENCH_LOGS": self.scratch / "logs"}
        ours = {"PATH", "HOME", "LANG", "LC_ALL"}
        return {
            **{name: value for name, value in os.environ.items() if name in ours},
            **{name: str(value) for name, value in (ports | folders).items()},
            "PGPASSWORD": unquote(self._database.password or ""),
            "TMPDIR": str(self.scratch),
            "PYTHONDONTWRITEBYTECODE": "1",
            "QUIET_WAIT": "0",
        }

    def _python(self, peer: str) -> Path:
        """The interpreter of its environment, made from its lock file where it is missing or older."""
        lock, home = self.folder / "locks" / f"{peer}.txt", ENVIRONMENTS / peer
        python, made = home / "bin" / "python", home / ".made"
        if made.exists() and made.read_text() == lock.read_text():
            return python
        print(f"  making an environment for {peer} …", flush=True)
        shutil.rmtree(home, ignore_errors=True)
        home.parent.mkdir(parents=True, exist_ok=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(lock)]
        for command in ([sys.executable, "-m", "venv", str(home)], install):
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            if done.returncode:
                words = (done.stderr.strip() or "it said nothing").splitlines()[-1]
                raise PeerError(f"not installed: {words[:160]}")
        made.write_text(lock.read_text())
        return python

    def _make_database(self, name: str) -> None:
        """An empty one, owned by the account that the scripts sign in with."""
        password = sql.Literal(unquote(self._database.password or ""))
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as link:
            if not link.execute("SELECT 1 FROM pg_roles WHERE rolname = 'postgres'").fetchone():
                link.execute(sql.SQL("CREATE ROLE postgres SUPERUSER LOGIN PASSWORD {}").format(password))
            link.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            link.execute(sql.SQL("CREATE DATABASE {} OWNER postgres").format(sql.Identifier(name)))

    @contextmanager
    def _open_redis(self) -> Iterator[None]:
        """The scripts know no password, so for as long as one runs there is none."""
        with redis.Redis.from_url(self._redis_url) as box:
            box.config_set("requirepass", "")
            try:
                yield
            finally:
                box.config_set("requirepass", unquote(urlsplit(self._redis_url).password or ""))


@contextmanager
def peers() -> Iterator[Peers | None]:
    """The peers of the folder that was named; None, with a sentence, where none was."""
    named = os.environ.get(VARIABLE, "")
    folder = Path(named).resolve()
    if not named or not (folder / "peers").is_dir():
        reason = f"{folder} has no folder `peers`" if named else "no PEERS= was given"
        print(f"  The peers are not measured: {reason}.")
        yield None
        return
    scratch = Path(tempfile.mkdtemp(prefix="cockpit-peers-"))
    try:
        yield Peers(folder, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def end_session(leader: int) -> None:
    """End whatever a script has started and left: all of it is in the session of the script."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[3] == str(leader) and (mark := processes.Mark.of(int(stat.parent.name))):
            processes.end_stranger(mark, ((signal.SIGKILL, 5),))


def last_words(log: Path) -> str:
    """The last line of a log, for a row of a table."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return (lines or ["it said nothing"])[-1][:160].replace("|", "/")
